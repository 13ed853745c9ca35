"""A key that is refused, or an account that is empty: no job dies of it, and few calls are made to find out."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any, cast

import pytest
from arq import ArqRedis

from faultserver import FaultServer
from helpers.requests import requests
from helpers.waiting import eventually
from helpers.workers import worker
from windfall import Producer
from windfall.keys import PARKED_ENDPOINTS
from windfall_worker.guards.circuit import close_breaker
from windfall_worker.guards.parked import ParkedEndpoint, lift, list_parked
from windfall_worker.guards.parking import PROBE_EVERY
from windfall_worker.settings import ModelSettings, ProviderSettings, WorkerSettings

DEAD = {"status": 401, "json": {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}}
EMPTY = {"status": 429, "json": {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}}
FORBIDDEN = {"status": 403, "json": {"error": {"message": "no", "type": "permission_error"}}}
#: Calls that may be made before the endpoint is parked: those of the first wave.
HANDFUL = 20


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD_KEY", "sk-old")
    monkeypatch.setenv("NEW_KEY", "sk-new")


def settings(server: FaultServer, *models: str, key: str = "OLD_KEY") -> WorkerSettings:
    provider = ProviderSettings(protocol="openai", base_url=server.url, api_key_env=key, max_retries=0)
    cloud = tuple(f"test:{model}" for model in models)
    return WorkerSettings(models=(ModelSettings(name="m", cloud=cloud),), providers={"test": provider}, drain_timeout=0)


async def parked(redis: ArqRedis) -> Sequence[ParkedEndpoint]:
    return await list_parked(redis)


async def waits(producer: Producer) -> list[str]:
    return list((await producer.fleet()).waits())


async def test_a_dead_key_costs_a_handful_of_calls_and_no_job(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    fault_server.plan(model, then=DEAD)
    batch = await producer.enqueue_batch(requests(300, route="cloud"))
    with caplog.at_level(logging.ERROR, "windfall.cloud"):
        async with worker(settings(fault_server, model), redis_url):
            (reason,) = await eventually(lambda: waits(producer), "the reason in the fleet")
    assert "401" in reason
    assert "windfall breaker close" in reason
    assert len([record for record in caplog.records if record.name == "windfall.cloud"]) == 1
    assert fault_server.hits(model) <= HANDFUL
    found = await producer.batch(batch.id)
    assert (found.queued + found.running, found.finished) == (300, 0)

    fault_server.plan(model)
    async with worker(settings(fault_server, model), redis_url):  # the same key: it knows at once
        assert await waits(producer) or await eventually(lambda: waits(producer))
        assert fault_server.hits(model) == 0


async def test_another_key_is_not_held_up(
    producer: Producer, redis: ArqRedis, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then=DEAD)
    batch = await producer.enqueue_batch(requests(5, route="cloud"))
    async with worker(settings(fault_server, model), redis_url):
        await eventually(lambda: waits(producer), "the reason in the fleet")
        more = await producer.enqueue_batch(requests(20, route="cloud"))
        fault_server.plan(model)
        async with worker(settings(fault_server, model, key="NEW_KEY"), redis_url):
            results = [result async for result in producer.results(more.id)]
    assert len(results) == 20
    assert all(result.ok for result in results)
    assert await parked(redis) == []
    assert (await producer.batch(batch.id)).failed == 0


async def test_an_empty_account_is_tried_again_when_a_person_says_so(
    producer: Producer, redis: ArqRedis, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then=EMPTY)
    async with worker(settings(fault_server, model), redis_url):
        await producer.enqueue_batch(requests(1, route="cloud"))
        (found,) = await eventually(lambda: parked(redis), "a parked endpoint")
        assert "quota" in found.reason
        assert 0 < found.probe_in <= PROBE_EVERY
        waiting = await producer.enqueue_batch(requests(30, route="cloud"))
        before = fault_server.hits(model)
        fault_server.plan(model)
        await close_breaker(redis, found.name)
        assert await lift(redis, found.name)
        results = [result async for result in producer.results(waiting.id)]
    assert before == 1
    assert all(result.ok and len(result.attempts) == 1 for result in results)
    assert await waits(producer) == []


async def test_one_probe_is_made_when_it_is_due_and_its_success_is_for_all(
    producer: Producer, redis: ArqRedis, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then=DEAD)
    async with worker(settings(fault_server, model), redis_url):
        await producer.enqueue_batch(requests(1, route="cloud"))
        await eventually(lambda: parked(redis), "a parked endpoint")
        waiting = await producer.enqueue_batch(requests(30, route="cloud"))
        hits = fault_server.hits(model)
        await probe_is_due(redis)
        await eventually(lambda: fault_server.hits(model) > hits, "a probe")
        (found,) = await eventually(lambda: parked(redis))
        assert found.probe_in > PROBE_EVERY / 2  # it failed, and the next one is far
        assert fault_server.hits(model) == hits + 1
        fault_server.plan(model)
        await probe_is_due(redis)
        results = [result async for result in producer.results(waiting.id)]
    assert all(result.ok for result in results)
    assert await parked(redis) == []


async def probe_is_due(redis: ArqRedis) -> None:
    """Ten minutes have gone by."""
    client = cast(Any, redis)
    for field, raw in (await client.hgetall(PARKED_ENDPOINTS)).items():
        await client.hset(PARKED_ENDPOINTS, field, json.dumps(json.loads(raw) | {"probe_at": 1}))


async def test_a_403_of_one_request_parks_nothing(
    producer: Producer, redis: ArqRedis, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, FORBIDDEN, {}, FORBIDDEN, {}, FORBIDDEN)
    async with worker(settings(fault_server, model), redis_url):
        for _ in range(3):
            batch = await producer.enqueue_batch(requests(1, route="cloud"))
            (result,) = [result async for result in producer.results(batch.id)]
            assert [each.outcome for each in result.attempts] == ["failed", "completed"]
    assert await parked(redis) == []


async def test_403s_in_a_row_are_about_the_key(
    producer: Producer, redis: ArqRedis, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then=FORBIDDEN)
    batch = await producer.enqueue_batch(requests(50, route="cloud"))
    async with worker(settings(fault_server, model), redis_url):
        await eventually(lambda: parked(redis), "a parked endpoint")
    assert fault_server.hits(model) <= HANDFUL
    assert (await producer.batch(batch.id)).finished == 0


async def test_the_next_mapping_takes_what_a_parked_one_does_not(
    producer: Producer, redis: ArqRedis, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    other = f"{model}-other"
    fault_server.plan(model, then=EMPTY)
    fault_server.plan(other)
    batch = await producer.enqueue_batch(requests(100, route="cloud"))
    async with worker(settings(fault_server, model, other), redis_url):
        results = [result async for result in producer.results(batch.id)]
    assert len(results) == 100
    assert all(result.ok for result in results)
    assert fault_server.hits(other) == 100
    assert fault_server.hits(model) <= HANDFUL


async def test_a_request_above_the_limit_fails_and_cools_nobody(
    producer: Producer, redis: ArqRedis, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, rates={"tokens": 1000, "told": "openai"})
    async with worker(settings(fault_server, model), redis_url):
        batch = await producer.enqueue_batch(requests(1, route="cloud", max_tokens=5000))
        (result,) = [result async for result in producer.results(batch.id)]
        assert result.error
        assert result.error.type == "request_too_large"
        assert len(result.attempts) == 1
        batch = await producer.enqueue_batch(requests(1, route="cloud", max_tokens=5))
        (result,) = [result async for result in producer.results(batch.id)]
        assert result.ok
    assert fault_server.hits(model) == 2
