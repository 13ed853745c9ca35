"""What Redis pays for each periodic read of workers and producers, by the number of Macs.

    python tests/benchmarks/scaling_looks.py [--rounds 5]

Processor time as Redis reports it (`INFO cpu`), in microseconds; docs/scaling.md says how often each is read.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
from collections.abc import Awaitable, Callable
from typing import Any, cast

from _bench import OUT, fresh_redis, request_of
from scaling_redis import Costs

from windfall import Producer, keys
from windfall.broker.clock import RedisClock
from windfall.queue.housekeeping import Housekeeping
from windfall.queue.workers import ServedModel, WorkerStatus, write_heartbeat
from windfall.scripts import load_missing
from windfall_worker.control import Steerable
from windfall_worker.queue.heartbeat import announce_serving
from windfall_worker.queue.orders import Orders
from windfall_worker.queue.spill import Spill, SpillRule
from windfall_worker.settings import SpillWhen

FLEETS = (10, 250, 1000)
TIMES = 300


class NoOrders:
    """A worker that is told nothing."""

    id = "bench"

    def resume(self, who: str) -> None:
        """Nothing is paused."""


def status(name: str, now: float) -> WorkerStatus:
    """A heartbeat as a Mac writes it."""
    return WorkerStatus(
        id=name, host="bench", pid=1, state="running", started_at=now, seen_at=now, version="0", chip="Apple M4 Pro",
        memory_bytes=48 << 30, spill="no-mac", spill_after=60.0,
        models=(ServedModel(name="m", backends=("mlx",), slots=32, running=31, tokens_per_second=512.0),),
    )  # fmt: skip


async def look_at_backlogs(redis: Any) -> None:
    """As a worker with one model looks at the lanes of its engine (`watch_backlogs`)."""
    async with redis.pipeline(transaction=False) as pipe:
        for lane in (keys.lane_queue("m", "local"), keys.lane_queue("m", "auto")):
            pipe.zcard(lane)
            pipe.zcount(lane + keys.HELD_SUFFIX, "(0", "+inf")
            pipe.hget(keys.of_lane(keys.FAIR, lane), "waiting")
        await pipe.execute()


async def measure_one(costs: Costs, producer: Producer) -> None:
    """One round."""
    redis = producer.redis
    clock = RedisClock(redis)
    now = await clock.now()
    await producer.enqueue_batch([request_of(1024) for _ in range(100)], batch_id="waiting")
    await announce_serving(redis, clock, ["m"])
    spill = Spill(redis, clock, {"m": "openai:x"}, SpillRule(SpillWhen.NO_MAC, 60.0))
    orders = Orders(redis, cast("Steerable", NoOrders()), "bench")
    housekeeping = Housekeeping(redis, clock, 0)
    await housekeeping.sweep()
    steps: dict[str, Callable[[], Awaitable[object]]] = {
        "heartbeat": lambda: write_heartbeat(redis, status("bench-7-aaaaaa", now)),
        "spill": spill.look,
        "orders": orders.look,
        "scripts": lambda: load_missing(redis),
        "sweep": housekeeping.sweep,
        "backlogs": lambda: look_at_backlogs(redis),
        "batch": lambda: producer.batch("waiting"),
    }
    for name, step in steps.items():
        async with costs.cpu(name, TIMES):
            for _ in range(TIMES):
                await step()
    for before, size in itertools.pairwise((0, *FLEETS)):
        for number in range(before, size):
            await write_heartbeat(redis, status(f"bench-7-{number:06x}", now))
        async with costs.cpu(f"fleet_{size}", 20):
            for _ in range(20):
                await producer.fleet()
        async with costs.cpu(f"spill_{size}", TIMES):
            for _ in range(TIMES):
                await spill.look()
    await redis.flushdb()


async def measure(rounds: int) -> dict[str, float]:
    """The medians."""
    async with fresh_redis() as url, Producer(url) as producer:
        costs = Costs(producer.redis)
        for _ in range(rounds):
            await measure_one(costs, producer)
    return {name: statistics.median(samples) for name, samples in costs.found.items()}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    found = asyncio.run(measure(parser.parse_args().rounds))
    for name, figure in found.items():
        print(f"{name:16} {figure:10,.1f}")
    OUT.mkdir(exist_ok=True)
    (OUT / "scaling_looks.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
