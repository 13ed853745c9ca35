"""What one Redis carries: its processor time for every step of a row and for every worker, and its memory.

    python tests/benchmarks/scaling_redis.py [--rounds 5]

Measured by Redis itself (`INFO cpu`, `INFO memory`), so that what else this machine does counts little. The figures go
into `scaling_fleet.py`, and into the arithmetic of docs/scaling.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from _bench import OUT, fresh_redis, request_of
from queue_million import LANE, finish

from windfall import Producer
from windfall.keys import CHANNEL_WAKE
from windfall.queue.workers import ServedModel, WorkerStatus, write_heartbeat
from windfall.scripts import run_all
from windfall_worker.jobs.claim import Claim
from windfall_worker.queue.claims import ClaimClient, Lease

ROWS = 4_000
WANTS = (1, 8, 32)
LISTENERS = 200


class Costs:
    """Samples by name, in microseconds of Redis or in bytes."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self.found: dict[str, list[float]] = defaultdict(list)

    @asynccontextmanager
    async def cpu(self, name: str, per: int) -> AsyncIterator[None]:
        """Redis' processor time for one of the `per` things done in the body."""
        before = await self._cpu()
        yield
        self.found[f"{name}_us"].append(1e6 * (await self._cpu() - before) / per)

    @asynccontextmanager
    async def bytes(self, name: str, per: int) -> AsyncIterator[None]:
        """Its memory for one of them."""
        before = await self._memory()
        yield
        self.found[f"{name}_bytes"].append((await self._memory() - before) / per)

    async def _cpu(self) -> float:
        cpu = await self._redis.info("cpu")
        return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])

    async def _memory(self) -> int:
        return int((await self._redis.info("memory"))["used_memory_dataset"])


async def rows(producer: Producer, costs: Costs, want: int) -> None:
    """A row's whole way, claimed and finished `want` at a time."""
    request = request_of(1024)
    async with costs.bytes("row", ROWS), costs.cpu("enqueue", ROWS):
        batch = await producer.enqueue_batch(request for _ in range(ROWS))
    claim_client = ClaimClient(producer.redis, "bench", Lease(600_000, 3_000))
    held: list[list[Claim]] = []
    async with costs.cpu(f"claim_{want}", ROWS):
        while sum(map(len, held)) < ROWS:
            held.append(list((await claim_client.claim([LANE], want)).claims))
    some = [claim for page in held for claim in page][:32]
    async with costs.cpu("renew_32", 100):
        for _ in range(100):
            await claim_client.renew(some)
    pages = [[finish(claim) for claim in page] for page in held]
    async with costs.bytes("finished_row", ROWS), costs.cpu(f"finish_{want}", ROWS):
        for page in pages:
            await run_all(producer.redis, page)
    costs.found["result_bytes"].append(costs.found["row_bytes"][-1] + costs.found.pop("finished_row_bytes")[-1])
    await producer.delete(batch.id)


async def workers(producer: Producer, costs: Costs) -> None:
    """What a worker costs that has nothing to do."""
    redis: Any = producer.redis
    claim_client = ClaimClient(redis, "bench", Lease(10_000, 3_000))
    async with costs.cpu("empty_claim", 500):
        for _ in range(500):
            await claim_client.claim([LANE], 32)
    status = WorkerStatus(
        id="bench", host="bench", pid=1, state="running", started_at=0, seen_at=0, version="0",
        models=(ServedModel(name="m", backends=("mlx",), slots=32),),
    )  # fmt: skip
    async with costs.cpu("heartbeat", 500):
        for _ in range(500):
            await write_heartbeat(redis, status)
    async with costs.cpu("backlog_look", 500):
        for _ in range(500):
            async with redis.pipeline(transaction=False) as pipe:
                for _ in range(2):
                    pipe.zcard(LANE)
                    pipe.zcount(f"{LANE}:held", "(0", "+inf")
                await pipe.execute()


async def listeners(redis: Any, costs: Costs) -> None:
    """What a wake-up costs for each worker that hears it, and what a connection takes."""
    before = int((await redis.info("memory"))["used_memory"])
    subscriptions = [redis.pubsub() for _ in range(LISTENERS)]
    for subscription in subscriptions:
        await subscription.subscribe(CHANNEL_WAKE + LANE)
    costs.found["connection_bytes"].append((int((await redis.info("memory"))["used_memory"]) - before) / LISTENERS)
    async with costs.cpu("wake", LISTENERS * 50):
        for _ in range(50):
            await redis.publish(CHANNEL_WAKE + LANE, 1)
    for subscription in subscriptions:
        await subscription.aclose()


async def measure(rounds: int) -> dict[str, float]:
    """The medians."""
    async with fresh_redis() as url, Producer(url) as producer:
        costs = Costs(producer.redis)
        for n in range(rounds):
            for want in WANTS:
                await rows(producer, costs, want)
            await workers(producer, costs)
            await listeners(producer.redis, costs)
            print(f"  round {n + 1} of {rounds}", flush=True)
    return {name: statistics.median(samples) for name, samples in sorted(costs.found.items())}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    found = asyncio.run(measure(parser.parse_args().rounds))
    for name, figure in found.items():
        print(f"{name:18} {figure:10,.1f}")
    OUT.mkdir(exist_ok=True)
    (OUT / "scaling_redis.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
