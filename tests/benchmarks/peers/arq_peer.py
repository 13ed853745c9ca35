"""arq: https://arq-docs.helpmanuals.io"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from common import PORT, SLOTS, in_parallel, latencies, now_and_then, serve, until_empty

SETTINGS = RedisSettings(port=PORT)


async def work(_: dict[str, Any], seconds: float, text: str = "") -> float:
    began = time.time()
    if seconds:
        await asyncio.sleep(seconds)
    return began


class WorkerSettings:
    functions = (work,)
    redis_settings = SETTINGS
    max_jobs = SLOTS
    log_results = False


async def drain(jobs: int, seconds: float) -> dict[str, float]:
    pool = await create_pool(SETTINGS)
    began = time.perf_counter()
    await in_parallel(lambda _: pool.enqueue_job("work", seconds), jobs)
    enqueued = time.perf_counter() - began
    await until_empty(lambda: pool.zcard("arq:queue"))
    return {"enqueued": enqueued, "took": time.perf_counter() - began}


async def enqueue(jobs: int, text: str) -> float:
    pool = await create_pool(SETTINGS)
    began = time.perf_counter()
    await in_parallel(lambda _: pool.enqueue_job("work", 0, text), jobs)
    return time.perf_counter() - began


async def latency(jobs: int) -> dict[str, list[float]]:
    pool = await create_pool(SETTINGS)
    moments = []
    async for enqueued in now_and_then(min(jobs, 40)):  # half a second each
        job = await pool.enqueue_job("work", 0)
        began = await job.result(poll_delay=0.001)
        moments.append((enqueued, began, time.time()))
    return latencies(moments)


if __name__ == "__main__":
    serve(drain, enqueue, latency)
