"""A batch of 1,000,000 rows of 1 KB: how fast rows are submitted, claimed and finished with 0, 0.5 and 1 M waiting.

    python tests/benchmarks/queue_million.py [--rows 1000000] [--samples 7]

Submission is the producer's own; claims and results go through the worker's claim desk and the scripts, without the
worker around them, so that it is Redis and the protocol that are measured. Takes about 2 GB of memory and runs once;
each rate is the median of a few samples.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

from _bench import OURS, Row, Table, Target, fresh_redis, request_of

from windfall import Producer
from windfall.keys import lane_queue
from windfall.request import Route
from windfall.result import Completion, CompletionResult, JobState, Timings
from windfall.scripts import Arg, Script, Step, run_all
from windfall.wire import encode_result
from windfall_worker.claims import Claim, ClaimDesk, Lease

ROWS = 10_000  #: submitted, claimed and finished in one sample
PAGE = 100  #: claimed or finished in one round trip
LANE = lane_queue("m", Route.AUTO)


def finish(claim: Claim) -> Step:
    """A small result."""
    now = time.time()
    result = CompletionResult(
        job_id=claim.job_id,
        state=JobState.COMPLETED,
        model="m",
        completion=Completion(content="x" * 100),
        timings=Timings(enqueued_at=now, started_at=now, finished_at=now),
    )
    end: list[Arg] = [claim.job_id, claim.token, "completed", encode_result(result, LANE), 0, 10, 10, 0, 0]
    return Step(Script.FINISH, [LANE], end)


class Million:
    """One batch at a time that is filled, and samples taken of it at some sizes."""

    def __init__(self, producer: Producer, samples: int) -> None:
        self._producer = producer
        self._desk = ClaimDesk(producer.redis, "bench", Lease(600_000, 3_000))
        self._samples = samples
        self._request = request_of(1024)

    async def submit(self, rows: int) -> float:
        """Rows a second."""
        began = time.perf_counter()
        await self._producer.enqueue_batch(self._request for _ in range(rows))
        return rows / (time.perf_counter() - began)

    async def sample(self) -> dict[str, list[float]]:
        """Rates a second with as many waiting as there are now."""
        rates: dict[str, list[float]] = {"submit": [], "claim": [], "finish": []}
        for _ in range(self._samples):
            rates["submit"].append(await self.submit(ROWS))
            began = time.perf_counter()
            claims: list[Claim] = []
            while len(claims) < ROWS:
                claims += (await self._desk.claim([LANE], PAGE)).claims
            rates["claim"].append(ROWS / (time.perf_counter() - began))
            steps = [finish(claim) for claim in claims]
            began = time.perf_counter()
            for first in range(0, ROWS, PAGE):
                answers = await run_all(self._producer.redis, steps[first : first + PAGE])
                if answers != [b"ok"] * PAGE:
                    raise SystemExit(f"a result was refused: {set(map(str, answers))}")
            rates["finish"].append(ROWS / (time.perf_counter() - began))
        return rates


async def measure(rows: int, samples: int) -> Table:
    """Fill and sample."""
    table = Table("queue_million", f"A backlog of up to {rows:,} rows of 1 KB")
    at: dict[int, dict[str, list[float]]] = {}
    async with fresh_redis() as redis, Producer(redis) as producer:
        million = Million(producer, samples)
        await million.submit(ROWS)  # warm
        for level in (0, rows // 2, rows):
            waiting = int(await producer.redis.zcard(LANE))
            if level > waiting:
                print(f"  filling up to {level:,}: {await million.submit(level - waiting):,.0f} rows/s", flush=True)
            at[level] = await million.sample()
            print(
                f"  at {level:,}: { {what: round(statistics.median(r)) for what, r in at[level].items()} }", flush=True
            )
        used = (await producer.redis.info("memory"))["used_memory_human"]
    for what in ("submit", "claim", "finish"):
        empty = statistics.median(at[0][what])
        for level, rates in list(at.items())[1:]:
            work = f"{what} at {level:,} waiting"
            figures = {OURS: rates[what], "at 0": at[0][what]}
            note = f"{statistics.median(rates[what]) / empty:.2f} of the rate of an empty lane"
            table.rows.append(Row(work, "rows/s", figures, Target(ratio=0.8), note=note))
    print(f"  memory of Redis at the end: {used}")
    return table


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--samples", type=int, default=7)
    args = parser.parse_args()
    asyncio.run(measure(args.rows, args.samples)).report()


if __name__ == "__main__":
    main()
