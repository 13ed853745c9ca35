"""Completions a second of a cloud-only worker, beside a bare asyncio + httpx loop, at the same concurrency.

    python tests/benchmarks/cloud_throughput.py [--runs 5] [--rows 2000]

The endpoint is a process of its own that answers after 50 ms; 64 calls are in flight on both sides. Windfall's side
holds everything: enqueueing, queue, breaker, ledger, and every result read. The sides run in turn, each in a process
of its own; medians and the ratio are printed, and JSON is written to `.bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from faultserver import FaultServer
from windfall import CompletionRequest, Producer
from windfall.embedded.broker import find_redis_server, redis_server
from windfall_worker.main import run_worker
from windfall_worker.settings import ModelSettings, ProviderSettings, WorkerSettings

CONCURRENCY = 64
DELAY = 0.05
MODEL = "bench"


def body() -> dict[str, Any]:
    """One request."""
    return {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


async def bare_loop(url: str, rows: int) -> float:
    """Calls a second without anything around them."""
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    left = iter(range(rows))
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:

        async def caller() -> None:
            for _ in left:
                answer = await client.post(f"{url}/chat/completions", json=body())
                answer.raise_for_status()
                answer.json()

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
        return rows / (time.perf_counter() - began)


def bare_process(url: str, rows: int, answer: Any) -> None:
    """The peer in a process of its own."""
    answer.put(asyncio.run(bare_loop(url, rows)))


def worker_process(url: str, redis: str) -> None:
    """A cloud-only worker."""
    provider = ProviderSettings(protocol="openai", base_url=url, concurrency=CONCURRENCY)
    models = (ModelSettings(name="m", cloud=(f"test:{MODEL}",)),)
    asyncio.run(run_worker(WorkerSettings(models=models, providers={"test": provider}), redis))


async def through_windfall(redis: str, rows: int) -> float:
    """Rows a second from the first one enqueued to the last result read."""
    request = CompletionRequest.model_validate({**body(), "model": "m", "route": "cloud"})
    async with Producer(redis) as producer:
        began = time.perf_counter()
        batch = await producer.enqueue_batch(request for _ in range(rows))
        done = [result.ok async for result in producer.results(batch.id)]
        took = time.perf_counter() - began
    if len(done) != rows or not all(done):
        raise SystemExit(f"{rows} rows, {sum(done)} completions")
    return rows / took


@asynccontextmanager
async def process(target: Callable[..., None], *args: Any) -> AsyncIterator[None]:
    """A process for as long as the body runs."""
    running = multiprocessing.get_context("spawn").Process(target=target, args=args, daemon=True)
    running.start()
    try:
        yield
    finally:
        running.terminate()
        await asyncio.to_thread(running.join)


async def measure(runs: int, rows: int) -> dict[str, list[float]]:
    """Both sides in turn."""
    rates: dict[str, list[float]] = {"windfall": [], "httpx": []}
    server = find_redis_server()
    if server is None:
        raise SystemExit("no redis-server")
    with FaultServer() as endpoint, tempfile.TemporaryDirectory() as folder:
        endpoint.plan(MODEL, then={"delay": DELAY})
        async with redis_server(server, Path(folder)) as redis, process(worker_process, endpoint.url, redis):
            await through_windfall(redis, CONCURRENCY)  # the worker is up, and its connections are open
            for _ in range(runs):
                rates["windfall"].append(await through_windfall(redis, rows))
                answer = multiprocessing.get_context("spawn").Queue()
                async with process(bare_process, endpoint.url, rows, answer):
                    rates["httpx"].append(await asyncio.to_thread(answer.get))
    return rates


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=2000)
    args = parser.parse_args()
    rates = asyncio.run(measure(args.runs, args.rows))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, median in medians.items():
        print(f"{name:9} {median:7.1f} completions/s")
    print(f"windfall / httpx: {medians['windfall'] / medians['httpx']:.2f}")
    out = Path(".bench") / "cloud_throughput.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"rates": rates, "medians": medians}, indent=1))


if __name__ == "__main__":
    main()
