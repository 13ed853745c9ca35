"""Workers at an endpoint with rate limits: all rows end well, at once, and hardly any call is refused."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from arq import ArqRedis

from faultserver import FaultServer
from helpers.requests import requests
from helpers.workers import worker
from windfall import Producer
from windfall_worker.settings import ModelSettings, ProviderSettings, WorkerSettings

ROWS = 320
LIMITS: dict[str, dict[str, Any]] = {
    "requests-windows-told": {"requests": 80, "window": True, "told": "openai"},
    "requests-bucket-told": {"requests": 80, "told": "openai", "retry_after": True},
    "requests-windows-retry-after": {"requests": 80, "window": True, "retry_after": True},
    "tokens-windows-told": {"tokens": 2000, "window": True, "told": "openai"},
    "tokens-bucket-told": {"tokens": 2000, "told": "openai", "retry_after": True},
}


def settings(server: FaultServer, model: str, name: str, **more: Any) -> WorkerSettings:
    provider = ProviderSettings.model_validate({"protocol": "openai", "base_url": server.url} | more)
    found = ModelSettings(name="m", cloud=(f"test:{model}",))
    return WorkerSettings(models=(found,), providers={"test": provider}, drain_timeout=0, name=name)


@pytest.mark.parametrize(("name", "workers"), [*((name, 3) for name in LIMITS), ("requests-windows-told", 1)])
async def test_hardly_any_call_is_refused_and_no_row_fails(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str, name: str, workers: int
) -> None:
    fault_server.plan(model, rates={"period": 2.0} | LIMITS[name])
    batch = await producer.enqueue_batch(requests(ROWS, route="cloud", max_tokens=12))
    async with AsyncExitStack() as stack:
        for number in range(workers):
            await stack.enter_async_context(worker(settings(fault_server, model, f"w{number}"), redis_url))
        async with asyncio.timeout(100):
            results = [result async for result in producer.results(batch.id)]
    assert len(results) == ROWS
    assert all(result.ok for result in results)
    counts = fault_server.counts(model)
    assert counts["answered"] == ROWS
    assert counts.get("refused", 0) <= 0.1 * ROWS
    tries = [sum(each.outcome == "failed" for each in result.attempts) for result in results]
    assert max(tries) <= 2  # nobody is punished more than another


async def test_a_rate_that_is_set_is_kept_by_all_workers_together(
    producer: Producer, redis: ArqRedis, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, rates={"requests": 600, "window": True})
    batch = await producer.enqueue_batch(requests(60, route="cloud"))
    async with AsyncExitStack() as stack:
        for number in range(2):
            found = settings(fault_server, model, f"w{number}", rpm=600)
            await stack.enter_async_context(worker(found, redis_url))
        results = [result async for result in producer.results(batch.id)]
    assert all(result.ok for result in results)
    times = sorted(request["at"] for request in fault_server.seen(model))
    assert times[-1] - times[0] >= 0.8 * (60 - 10) / 10  # 10 a second; a slow machine only makes it longer
