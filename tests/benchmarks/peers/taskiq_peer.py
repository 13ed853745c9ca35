"""taskiq with taskiq-redis: https://taskiq-python.github.io. The list queue, which is its fastest."""

from __future__ import annotations

import asyncio
import time

from common import SLOTS, URL, in_parallel, latencies, now_and_then, serve, until_empty
from redis.asyncio import Redis
from taskiq.api import run_receiver_task
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

# redis-py 8 gives up reading after 5 s, and an idle worker's BRPOP reads for longer.
broker = ListQueueBroker(URL, socket_timeout=None).with_result_backend(
    RedisAsyncResultBackend(URL, result_ex_time=3600, socket_timeout=None)
)


@broker.task
async def work(seconds: float, text: str = "") -> float:
    began = time.time()
    if seconds:
        await asyncio.sleep(seconds)
    return began


async def receive() -> None:
    """A worker process without taskiq's process manager, which does not notice its own child's death."""
    await run_receiver_task(broker, max_async_tasks=SLOTS, run_startup=True)


async def drain(jobs: int, seconds: float) -> dict[str, float]:
    redis = Redis.from_url(URL)
    await broker.startup()
    results = await redis.dbsize() - await redis.exists("taskiq")

    async def left() -> int:
        # The list queue knows nothing of running jobs: their results are counted.
        return results + jobs + await redis.exists("taskiq") - await redis.dbsize()

    began = time.perf_counter()
    await in_parallel(lambda _: work.kiq(seconds), jobs)
    enqueued = time.perf_counter() - began
    await until_empty(left)
    return {"enqueued": enqueued, "took": time.perf_counter() - began}


async def enqueue(jobs: int, text: str) -> float:
    await broker.startup()
    began = time.perf_counter()
    await in_parallel(lambda _: work.kiq(0, text), jobs)
    return time.perf_counter() - began


async def latency(jobs: int) -> dict[str, list[float]]:
    await broker.startup()
    moments = []
    async for enqueued in now_and_then(jobs):
        task = await work.kiq(0)
        result = await task.wait_result(check_interval=0.001)
        moments.append((enqueued, result.return_value, time.time()))
    return latencies(moments)


if __name__ == "__main__":
    serve(receive, drain, enqueue, latency)
