"""How soon an idle worker starts a job, and how soon a waiting producer has its result.

    python tests/benchmarks/queue_latency.py [--rounds 5] [--jobs 200]

Single jobs, 10 to 30 ms apart, each waited for in the way that the queue offers: ours and streaq's is pushed; taskiq,
saq and arq look every millisecond. The job itself notes when it started; both processes read the machine's one clock.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial

from _bench import OURS, Figures, Row, Table, Target, fresh_redis, request_of
from _ours import Ours, run_one
from _peers import Peer, set_up

from windfall import Producer
from windfall.result import Completion
from windfall_worker.backends.base import Call
from windfall_worker.backends.simulated import SimulatedBackend

PEERS = ("arq", "saq", "streaq", "taskiq")  # dramatiq's workers answer nobody by default
TARGETS = {("start", "p50"): 1.6, ("start", "p99"): 2.7, ("wait", "p50"): 3.0, ("wait", "p99"): 5.0}

Latencies = dict[str, list[float]]


async def _say_when(self: SimulatedBackend, call: Call) -> Completion:
    return Completion(content=repr(time.time()))


def run_telling(redis: str, slots: int, seconds: float) -> None:
    """A worker whose completions say when they were started: a result's own times are in whole milliseconds."""
    SimulatedBackend.complete = _say_when  # type: ignore[method-assign]  # in this process only
    run_one(redis, slots, seconds)


async def ours(jobs: int) -> Latencies:
    """Milliseconds of each job, Windfall's."""
    chance, request = random.Random(7), request_of(0)
    found: Latencies = {"start": [], "wait": []}
    async with fresh_redis() as redis, Ours(redis).workers(target=run_telling), Producer(redis) as producer:
        for _ in range(jobs):
            await asyncio.sleep(chance.uniform(0.01, 0.03))
            enqueued = time.time()
            result = await producer.wait(await producer.enqueue(request), timeout=30)
            found["wait"].append(1000 * (time.time() - enqueued))
            found["start"].append(1000 * (float(result.text) - enqueued))
    return found


async def theirs(name: str, jobs: int) -> Latencies:
    """Milliseconds of each job, a peer's."""
    async with fresh_redis() as redis:
        peer = Peer(name, redis)
        async with peer.workers():
            found: Latencies = await peer.call("latency", jobs=jobs)
            return found


def percentile(values: list[float], which: str) -> float:
    """p50 or p99."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * int(which[1:]) / 100))]


async def measure(rounds: int, jobs: int) -> Table:
    """Every side in every round."""
    sides: dict[str, Callable[[int], Awaitable[Latencies]]] = {OURS: ours}
    sides |= {name: partial(theirs, name) for name in PEERS}
    found: dict[str, list[Latencies]] = {side: [] for side in sides}
    table = Table("queue_latency", "An idle worker, one job at a time")
    for n in range(rounds):
        for side in list(sides)[:: 1 if n % 2 == 0 else -1]:
            found[side].append(await sides[side](jobs))
            medians = {what: round(statistics.median(values), 2) for what, values in found[side][-1].items()}
            print(f"  round {n + 1}: {side} {medians} ms", flush=True)
    for (what, which), goal in TARGETS.items():
        figures: Figures = {side: [percentile(each[what], which) for each in found[side]] for side in sides}
        work = f"enqueue → {'start' if what == 'start' else 'result seen by wait()'}, {which}"
        table.rows.append(Row(work, "ms", figures, Target(figure=goal), better="less"))
    return table


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=200)
    args = parser.parse_args()
    set_up(list(PEERS))
    asyncio.run(measure(args.rounds, args.jobs)).report()


if __name__ == "__main__":
    main()
