"""streaq: https://streaq.readthedocs.io"""

from __future__ import annotations

import asyncio
import time

from common import SLOTS, URL, latencies, now_and_then, serve, until_empty
from streaq import Worker

worker = Worker(redis_url=URL, concurrency=SLOTS)


@worker.task
async def work(seconds: float, text: str = "") -> float:
    began = time.time()
    if seconds:
        await asyncio.sleep(seconds)
    return began


async def drain(jobs: int, seconds: float) -> dict[str, float]:
    async with worker:
        began = time.perf_counter()
        await worker.enqueue_many([work.enqueue(seconds) for _ in range(jobs)])
        enqueued = time.perf_counter() - began
        await until_empty(worker.queue_size)
        return {"enqueued": enqueued, "took": time.perf_counter() - began}


async def enqueue(jobs: int, text: str) -> float:
    async with worker:
        began = time.perf_counter()
        await worker.enqueue_many([work.enqueue(0, text) for _ in range(jobs)])
        return time.perf_counter() - began


async def latency(jobs: int) -> dict[str, list[float]]:
    async with worker:
        moments = []
        async for enqueued in now_and_then(jobs):
            task = await work.enqueue(0)
            result = await task.result(timeout=10)
            moments.append((enqueued, result.result, time.time()))
        return latencies(moments)


if __name__ == "__main__":
    serve(drain, enqueue, latency)
