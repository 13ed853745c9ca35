"""How much of an allowed rate a fleet makes, and how many calls it wastes on refusals.

    python tests/benchmarks/rate_limits.py [--seconds 45] [--warm-up 30] [--only NAME]

Worker processes (one, and four) send to an endpoint in a process of its own that limits requests or tokens: as a token
bucket or in fixed windows, told in headers or not. Counted is what the endpoint answered and refused after the warm-up.
Goals: at least 0.9 of the allowed rate, at most 0.1 refused calls a row. Writes `.bench/rate_limits.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from faultserver import FaultServer
from faultserver.rates import tokens_of
from helpers.waiting import eventually
from windfall import CompletionRequest, Producer
from windfall.embedded.broker import find_redis_server, redis_server
from windfall_worker.main import run_worker
from windfall_worker.settings import ModelSettings, ProviderSettings, WorkerSettings

MODEL, LATENCY, MAX_TOKENS = "bench", 0.2, 84
MESSAGES: Final = [{"role": "user", "content": "x" * 32}]
TOKENS: Final = tokens_of({"messages": MESSAGES, "max_tokens": MAX_TOKENS})
LEAST_SHARE, MOST_WASTED = 0.9, 0.1

#: 20 calls a second, whatever is counted.
SCENARIOS: Final[dict[str, dict[str, Any]]] = {
    "requests, bucket, told": {"requests": 200, "period": 10, "told": "openai", "retry_after": True},
    "requests, window, told": {"requests": 200, "period": 10, "window": True, "told": "openai", "retry_after": True},
    "requests, bucket, Anthropic": {"requests": 200, "period": 10, "told": "anthropic", "retry_after": True},
    "requests, bucket, retry-after": {"requests": 20, "period": 1, "retry_after": True},
    "requests, bucket, nothing told": {"requests": 20, "period": 1},
    "requests, window, nothing told": {"requests": 20, "period": 1, "window": True},
    "tokens, bucket, told": {"tokens": 200 * TOKENS, "period": 10, "told": "openai", "retry_after": True},
    "tokens, window, told": {"tokens": 200 * TOKENS, "period": 10, "window": True, "told": "openai"},
    "tokens, bucket, nothing told": {"tokens": 20 * TOKENS, "period": 1},
    "requests, window, rpm set": {"requests": 1200, "period": 60, "window": True, "set": {"rpm": 1200}},
    "tokens, bucket, tpm set": {"tokens": 20 * TOKENS, "period": 1, "set": {"tpm": round(1200 * TOKENS)}},
}
WORKERS: Final = (1, 4)


def worker_process(url: str, redis: str, name: str, more: dict[str, int]) -> None:
    """A cloud-only worker."""
    provider = ProviderSettings.model_validate({"protocol": "openai", "base_url": url} | more)
    models = (ModelSettings(name="m", cloud=(f"test:{MODEL}",)),)
    asyncio.run(run_worker(WorkerSettings(models=models, providers={"test": provider}, name=name), redis))


@asynccontextmanager
async def worker(*args: Any) -> AsyncIterator[None]:
    """A worker process for as long as the body runs."""
    running = multiprocessing.get_context("spawn").Process(target=worker_process, args=args, daemon=True)
    running.start()
    try:
        yield
    finally:
        running.kill()
        await asyncio.to_thread(running.join)


async def measure(rates: dict[str, Any], workers: int, warm_up: float, seconds: float) -> dict[str, float]:
    """The share of the allowed rate that was made, and the refused calls per row, after the warm-up."""
    server = find_redis_server()
    if server is None:
        raise SystemExit("no redis-server")
    unit = "requests" if "requests" in rates else "tokens"
    allowed = rates[unit] / rates["period"] / (1 if unit == "requests" else TOKENS)
    row = {"model": "m", "messages": MESSAGES, "max_tokens": MAX_TOKENS, "route": "cloud"}
    request = CompletionRequest.model_validate(row)
    async with AsyncExitStack() as stack:
        endpoint = stack.enter_context(FaultServer())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        endpoint.plan(MODEL, then={"delay": LATENCY}, rates=rates)
        redis = await stack.enter_async_context(redis_server(server, Path(folder)))
        producer = await stack.enter_async_context(Producer(redis))
        await producer.enqueue_batch(request for _ in range(round(2 * allowed * (warm_up + seconds))))
        for number in range(workers):
            await stack.enter_async_context(worker(endpoint.url, redis, f"w{number}", rates.get("set", {})))
        await eventually(lambda: endpoint.hits(MODEL), "a first call")
        await asyncio.sleep(warm_up)
        clock = asyncio.get_running_loop().time
        before, began = endpoint.counts(MODEL), clock()
        await asyncio.sleep(seconds)
        after, took = endpoint.counts(MODEL), clock() - began
    answered = after["answered"] - before["answered"]
    refused = after.get("refused", 0) - before.get("refused", 0)
    return {
        "share": round(answered / took / allowed, 3),
        "wasted": round(refused / max(1, answered), 3),
        "wasted_in_warm_up": round(before.get("refused", 0) / max(1, before["answered"]), 3),
    }


async def main(args: argparse.Namespace) -> int:
    """Measure all scenarios. Returns 1 when a goal is missed."""
    found: dict[str, dict[str, float]] = {}
    for name, rates in SCENARIOS.items():
        if args.only in name:
            for workers in WORKERS:
                figures = await measure(rates, workers, args.warm_up, args.seconds)
                found[f"{name}, {workers} workers"] = figures
                print(f"{name:34} {workers} workers  {json.dumps(figures)}", flush=True)
    met = all(each["share"] >= LEAST_SHARE and each["wasted"] <= MOST_WASTED for each in found.values())
    out = Path(".bench") / "rate_limits.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"benchmark": "rate_limits", "figures": found, "met": met}, indent=2) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=45.0)
    parser.add_argument("--warm-up", type=float, default=30.0)
    parser.add_argument("--only", default="")
    sys.exit(asyncio.run(main(parser.parse_args())))
