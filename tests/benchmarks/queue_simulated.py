"""2,000 simulated jobs of 0.1 s in 32 slots of one worker: the share of the ideal 320 jobs/s, beside stock arq.

    python tests/benchmarks/queue_simulated.py [--runs 5] [--jobs 2000]

Both sides run on the same redis-server, in turn, each worker in a process of its own. The clock runs from the first
row enqueued to the last result seen by the producer. Prints medians and the ratio, and writes JSON to `.bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from arq import ArqRedis, Worker, create_pool
from arq.connections import RedisSettings

from windfall import CompletionRequest, Producer
from windfall.broker import find_redis_server, free_port, redis_server
from windfall_worker.main import run_worker
from windfall_worker.settings import ModelSettings, WorkerSettings

LATENCY = 0.1
SLOTS = 32


async def sleep_job(_: dict[str, Any], seconds: float) -> None:
    """The peer's job."""
    await asyncio.sleep(seconds)


def arq_worker(port: int) -> None:
    """Stock arq with as many slots."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    functions: Any = [sleep_job]  # arq types a job's parameters by keyword
    Worker(functions, redis_settings=RedisSettings(port=port), max_jobs=SLOTS, log_results=False).run()


def windfall_worker(port: int) -> None:
    """A Windfall worker with as many slots."""
    models = (ModelSettings(name="m", simulate=LATENCY, slots=SLOTS),)
    asyncio.run(run_worker(WorkerSettings(models=models), f"redis://127.0.0.1:{port}"))


async def run_arq(port: int, jobs: int) -> float:
    """Jobs a second by stock arq."""
    pool: ArqRedis = await create_pool(RedisSettings(port=port))
    began = time.perf_counter()
    for first in range(0, jobs, 50):
        await asyncio.gather(*(pool.enqueue_job("sleep_job", LATENCY) for _ in range(first, min(first + 50, jobs))))
    while await pool.zcard("arq:queue"):  # noqa: ASYNC110 - stock arq announces nothing
        await asyncio.sleep(0.02)
    took = time.perf_counter() - began
    await pool.aclose()
    return jobs / took


async def run_windfall(port: int, jobs: int) -> float:
    """Jobs a second by Windfall, every result read."""
    request = CompletionRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
    async with Producer(f"redis://127.0.0.1:{port}") as producer:
        began = time.perf_counter()
        batch = await producer.enqueue_batch(request for _ in range(jobs))
        seen = [result.job_id async for result in producer.results(batch.id)]
        took = time.perf_counter() - began
    if len(set(seen)) != jobs:
        raise SystemExit(f"{jobs} rows, {len(set(seen))} results")
    return jobs / took


@asynccontextmanager
async def worker(target: Any, port: int) -> AsyncIterator[None]:
    """A worker process, up before the body runs."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=(port,), daemon=True)
    process.start()
    await asyncio.sleep(3)
    try:
        yield
    finally:
        process.terminate()
        await asyncio.to_thread(process.join)


async def measure(runs: int, jobs: int) -> dict[str, list[float]]:
    """Both sides in turn."""
    server = find_redis_server()
    if server is None:
        raise SystemExit("no redis-server")
    rates: dict[str, list[float]] = {"windfall": [], "arq": []}
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        async with redis_server(server, Path(folder), port=port):
            for _ in range(runs):
                async with worker(windfall_worker, port):
                    rates["windfall"].append(await run_windfall(port, jobs))
                async with worker(arq_worker, port):
                    rates["arq"].append(await run_arq(port, jobs))
    return rates


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2000)
    args = parser.parse_args()
    rates = asyncio.run(measure(args.runs, args.jobs))
    ideal = SLOTS / LATENCY
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, median in medians.items():
        print(f"{name:9} {median:6.1f} jobs/s, {median / ideal:6.1%} of the ideal {ideal:.0f}")
    print(f"windfall / arq: {medians['windfall'] / medians['arq']:.2f}")
    out = Path(".bench") / "queue_simulated.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"ideal": ideal, "rates": rates, "medians": medians}, indent=1))


if __name__ == "__main__":
    main()
