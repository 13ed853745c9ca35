"""A batch of 1,000,000 rows of 1 KB: how fast rows are submitted, claimed and finished with 0, 0.5 and 1 M waiting.

    python tests/benchmarks/queue_million.py [--rows 1000000] [--samples 7]

Two Redis servers, one with the backlog and one with an empty lane, are sampled in turn: a ratio of 1 means that the
backlog costs nothing. Submission is the producer's own; claims and results go through the worker's claim client and the
scripts, without the worker around them, so that it is Redis and the protocol that are measured. Takes about 2 GB of
memory and runs once.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack

from _bench import OURS, Row, Table, Target, fresh_redis, request_of

from windfall import Producer
from windfall.keys import lane_queue
from windfall.request import Route
from windfall.result import Completion, CompletionResult, JobState, Timings
from windfall.scripts import Arg, Script, Step, run_all
from windfall.wire import encode_result
from windfall_worker.jobs.claim import Claim
from windfall_worker.queue.claims import ClaimClient, Lease

ROWS = 10_000  #: submitted, claimed and finished in one sample
PAGE = 100  #: claimed or finished in one round trip
EMPTY = "empty"
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


class Lane:
    """One lane on one Redis, and the rates at which it takes and gives rows."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._client = ClaimClient(producer.redis, "bench", Lease(600_000, 3_000))
        self._request = request_of(1024)

    async def submit(self, rows: int) -> float:
        """Rows a second."""
        began = time.perf_counter()
        await self._producer.enqueue_batch(self._request for _ in range(rows))
        return rows / (time.perf_counter() - began)

    async def claim(self) -> tuple[float, list[Claim]]:
        """Rows a second, and what was claimed."""
        claims: list[Claim] = []
        began = time.perf_counter()
        while len(claims) < ROWS:
            claims += (await self._client.claim([LANE], PAGE)).claims
        return len(claims) / (time.perf_counter() - began), claims

    async def finish(self, claims: list[Claim]) -> float:
        """Rows a second."""
        steps = [finish(claim) for claim in claims]
        began = time.perf_counter()
        for first in range(0, len(steps), PAGE):
            answers = await run_all(self._producer.redis, steps[first : first + PAGE])
            if set(answers) != {b"ok"}:
                raise SystemExit(f"a result was refused: {set(map(str, answers))}")
        return len(steps) / (time.perf_counter() - began)

    async def waiting(self) -> int:
        """How many rows are in it."""
        return int(await self._producer.redis.zcard(LANE))


async def sample(lanes: Mapping[str, Lane], samples: int) -> dict[str, dict[str, list[float]]]:
    """For each rate, its samples on each lane, the lanes in turn."""
    rates: dict[str, dict[str, list[float]]] = {
        what: {side: [] for side in lanes} for what in ("submit", "claim", "finish")
    }
    for n in range(samples):
        order = list(lanes.items())[:: 1 if n % 2 == 0 else -1]
        for side, lane in order:
            rates["submit"][side].append(await lane.submit(ROWS))
        claimed = {}
        for side, lane in order:
            rate, claimed[side] = await lane.claim()
            rates["claim"][side].append(rate)
        for side, lane in order:
            rates["finish"][side].append(await lane.finish(claimed[side]))
    return rates


async def measure(rows: int, samples: int) -> Table:
    """Fill one lane, and sample both at half of the backlog and at all of it."""
    table = Table("queue_million", f"A backlog of up to {rows:,} rows of 1 KB beside an empty lane")
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(fresh_redis()) for _ in range(2)]
        producers = [await stack.enter_async_context(Producer(url)) for url in urls]
        full, empty = map(Lane, producers)
        await sample({OURS: full, EMPTY: empty}, 1)  # the first samples also import and compile
        for level in (rows // 2, rows):
            rate = await full.submit(level - await full.waiting())
            print(f"  filled up to {level:,} at {rate:,.0f} rows/s", flush=True)
            for what, figures in (await sample({OURS: full, EMPTY: empty}, samples)).items():
                target = Target(ratio=0.8, peer=EMPTY)
                table.rows.append(Row(f"{what} at {level:,} waiting", "rows/s", figures, target))
        memory = await producers[0].redis.info("memory")
    print(f"  memory of Redis at the end: {memory['used_memory_human']}")
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
