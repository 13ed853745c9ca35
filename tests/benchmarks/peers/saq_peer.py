"""saq: https://saq-py.readthedocs.io"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from common import SLOTS, URL, in_parallel, latencies, now_and_then, serve, until_empty
from saq import Queue

queue = Queue.from_url(URL)


async def work(_: dict[str, Any], *, seconds: float, text: str = "") -> float:
    began = time.time()
    if seconds:
        await asyncio.sleep(seconds)
    return began


settings = {"queue": queue, "functions": [work], "concurrency": SLOTS}


async def drain(jobs: int, seconds: float) -> dict[str, float]:
    await queue.connect()
    began = time.perf_counter()
    await in_parallel(lambda _: queue.enqueue("work", seconds=seconds), jobs)
    enqueued = time.perf_counter() - began
    await until_empty(lambda: queue.count("incomplete"))
    return {"enqueued": enqueued, "took": time.perf_counter() - began}


async def enqueue(jobs: int, text: str) -> float:
    await queue.connect()
    began = time.perf_counter()
    await in_parallel(lambda _: queue.enqueue("work", seconds=0, text=text), jobs)
    return time.perf_counter() - began


async def latency(jobs: int) -> dict[str, list[float]]:
    await queue.connect()
    moments = []
    async for enqueued in now_and_then(jobs):
        began = await queue.apply("work", poll_interval=0.001, seconds=0)
        moments.append((enqueued, began, time.time()))
    return latencies(moments)


if __name__ == "__main__":
    serve(drain, enqueue, latency)
