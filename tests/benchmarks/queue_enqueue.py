"""Bulk enqueueing: 10,000 rows of 1 KB by one producer, beside the peers; and what a queued row costs in Redis.

    python tests/benchmarks/queue_enqueue.py [--rounds 5] [--jobs 10000]

No worker runs. streaq gets all its tasks in one `enqueue_many`; arq, saq and taskiq, which enqueue one by one, have 50
calls in flight; dramatiq's producer is synchronous. The Redis is emptied before each measurement.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from _bench import OURS, Row, Side, Table, Target, fresh_redis, in_turn
from _ours import Ours
from _peers import REQUIREMENTS, Peer, set_up
from redis.asyncio import Redis

SIZE = 1024


class Scales:
    """Enqueues into an emptied Redis, and weighs what a row has added to it."""

    def __init__(self, redis: str, jobs: int) -> None:
        self._redis: Redis = Redis.from_url(redis)
        self._jobs = jobs
        self.bytes_each: dict[str, list[float]] = {}

    def side(self, name: str, enqueue: Callable[[], Awaitable[float]]) -> Side:
        """Rows a second."""

        async def measure() -> float:
            await self._redis.flushall()
            before = await self._used()
            took = await enqueue()
            self.bytes_each.setdefault(name, []).append((await self._used() - before) / self._jobs)
            return self._jobs / took

        return measure

    async def _used(self) -> int:
        # Buffers of connections and of the append-only file come and go; the data set stays.
        memory = await self._redis.info("memory")
        return int(memory["used_memory_dataset"])


async def measure(rounds: int, jobs: int) -> Table:
    """Rates, and bytes a row."""
    table = Table("queue_enqueue", f"{jobs:,} rows of 1 KB, one producer")
    async with fresh_redis() as redis:
        scales = Scales(redis, jobs)
        ours = Ours(redis)
        sides = {OURS: scales.side(OURS, lambda: ours.enqueue(jobs, SIZE))}
        for name in REQUIREMENTS:
            call = Peer(name, redis).call
            sides[name] = scales.side(name, partial(call, "enqueue", jobs=jobs, text="x" * SIZE))
        await ours.enqueue(jobs, SIZE)  # the first batch of a process also imports and compiles
        rates = await in_turn(sides, rounds)
    table.rows.append(Row("bulk enqueue", "rows/s", rates, Target(figure=20_000, ratio=3, peer="streaq")))
    table.rows.append(
        Row("Redis memory a queued row", "bytes", scales.bytes_each, Target(figure=SIZE + 350), better="less")
    )
    return table


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=10_000)
    args = parser.parse_args()
    set_up(list(REQUIREMENTS))
    asyncio.run(measure(args.rounds, args.jobs)).report()


if __name__ == "__main__":
    main()
