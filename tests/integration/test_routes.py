"""Where a job runs and where it goes on: a whole worker, a real Redis, and a real HTTP server that misbehaves."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from arq import ArqRedis

from faultserver import FaultServer
from helpers.requests import request, requests
from helpers.waiting import eventually
from helpers.workers import worker
from windfall import CompletionResult, ConfigError, JobState, Producer, keys
from windfall_worker.main import run_worker
from windfall_worker.settings import ModelSettings, ProviderSettings, SpillWhen, WorkerSettings

KEY = "sk-very-private-0123456789"


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)


def provider(server: FaultServer, protocol: str = "openai", **numbers: Any) -> ProviderSettings:
    body = {"protocol": protocol, "base_url": server.url, "api_key_env": "TEST_KEY", "max_retries": 0}
    return ProviderSettings.model_validate({**body, "breaker": {"reset_timeout": 0.5}, **numbers})


def settings(server: FaultServer, *cloud: str, simulate: float | None = None, **numbers: Any) -> WorkerSettings:
    providers = {"first": provider(server, **numbers), "second": provider(server, "anthropic", **numbers)}
    found = ModelSettings(name="m", simulate=simulate, cloud=cloud)
    return WorkerSettings(models=(found,), providers=providers, drain_timeout=0)


def ledger(result: CompletionResult) -> list[tuple[str, str, str | None]]:
    return [(each.backend, each.outcome, each.error.type if each.error else None) for each in result.attempts]


async def ask(producer: Producer, **fields: Any) -> CompletionResult:
    return await producer.wait(await producer.enqueue(request(**fields)), timeout=60)


async def waits(producer: Producer) -> list[str]:
    """Why cloud backends take no jobs, as their workers tell the fleet."""
    return list((await producer.fleet()).waits())


async def unheld(producer: Producer) -> bool:
    """Whether no job is running."""
    return not any(lane.running for lane in (await producer.fleet()).lanes)


async def test_a_cloud_request_runs_at_its_mapping_and_the_ledger_says_where(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    async with worker(settings(fault_server, f"first:{model}", simulate=0), redis_url):
        result = await ask(producer, route="cloud")
    (attempt,) = result.attempts
    assert (result.text, result.backend, attempt.backend) == ("a good answer", "first", "first")
    assert (attempt.request_id, attempt.usage) == ("req-fault", result.usage)
    assert attempt.model


async def test_auto_runs_on_this_machine_where_it_can(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    async with worker(settings(fault_server, f"first:{model}", simulate=0), redis_url):
        result = await ask(producer)
    assert result.backend == "simulated"
    assert fault_server.seen(model) == []


async def test_a_backend_that_fails_is_followed_by_the_next_in_the_same_ledger(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then={"status": 500})
    cloud = (f"first:{model}", f"second:{model}-2")
    async with worker(settings(fault_server, *cloud), redis_url):
        result = await ask(producer, route="cloud", max_tokens=5)
    assert result.ok, result.error
    assert [(backend, outcome) for backend, outcome, _ in ledger(result)] == [
        ("first", "failed"),
        ("second", "completed"),
    ]
    assert result.attempts[0].error is not None
    assert result.attempts[0].error.status == 500
    assert result.attempts[0].moved_on == "on to the next backend"


async def test_local_never_leaves_whatever_fails(
    producer: Producer, redis: ArqRedis, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    # No engine anywhere: only a worker that could send it to the cloud.
    async with worker(settings(fault_server, f"first:{model}"), redis_url):
        name = await producer.enqueue(request(route="local"))
        # A sign that the worker looked: an `auto` job behind it went to the cloud.
        assert (await ask(producer)).backend == "first"
        assert await producer.result(name) is None
        # Nor when somebody puts it by hand into a lane that the cloud serves.
        wrong = await redis.enqueue_job("complete", request(route="local"), _queue_name=keys.lane_queue("m", "cloud"))
        assert wrong is not None
        refused = await producer.wait(wrong.job_id, timeout=60)
    assert (refused.state, refused.error and refused.error.type) == (JobState.FAILED, "model_not_found")
    assert len(fault_server.seen(model)) == 1


async def test_a_cloud_only_worker_leaves_auto_to_a_live_mac(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    mac = WorkerSettings(models=(ModelSettings(name="m", simulate=0.2, slots=1),))
    async with worker(mac, redis_url):
        await eventually(lambda: _live(producer, 1), "the Mac's heartbeat")
        async with worker(settings(fault_server, f"first:{model}"), redis_url):
            batch = await producer.enqueue_batch(requests(5))
            backends = [result.backend async for result in producer.results(batch.id)]
    assert backends == ["simulated"] * 5


async def test_what_waits_too_long_for_a_mac_spills_to_the_cloud_where_that_was_asked_for(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    mac = WorkerSettings(models=(ModelSettings(name="m", simulate=60, slots=1),), drain_timeout=0)
    helper = settings(fault_server, f"first:{model}").model_copy(
        update={"spill": SpillWhen.BACKLOG, "spill_after": 0.5}
    )
    async with worker(mac, redis_url):
        await eventually(lambda: _live(producer, 1), "the Mac's heartbeat")
        async with worker(helper, redis_url):
            names = [await producer.enqueue(request()) for _ in range(4)]

            async def three_done() -> bool:
                return len([name for name in names if await producer.result(name)]) >= 3

            await eventually(three_done, "three jobs done by the cloud")


async def test_a_backlog_behind_a_live_mac_spends_nothing_unasked(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    mac = WorkerSettings(models=(ModelSettings(name="m", simulate=0.2, slots=1),), drain_timeout=0)
    helper = settings(fault_server, f"first:{model}").model_copy(update={"spill_after": 0.0})
    async with worker(mac, redis_url):
        await eventually(lambda: _live(producer, 1), "the Mac's heartbeat")
        async with worker(helper, redis_url):
            batch = await producer.enqueue_batch(requests(20))  # 4 s of work: most of it waits for longer than 0 s
            backends = {result.backend async for result in producer.results(batch.id)}
    assert backends == {"simulated"}
    assert fault_server.hits(model) == 0


async def _live(producer: Producer, count: int) -> bool:
    return len((await producer.fleet()).workers) >= count


async def test_a_long_running_job_is_no_reason_to_send_the_next_one_to_the_cloud(
    producer: Producer, redis: ArqRedis, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    mac = WorkerSettings(models=(ModelSettings(name="m", simulate=2.5, slots=2),), drain_timeout=0)
    helper = settings(fault_server, f"first:{model}").model_copy(
        update={"spill": SpillWhen.BACKLOG, "spill_after": 0.2}
    )
    async with worker(mac, redis_url):
        await eventually(lambda: _live(producer, 1), "the Mac's heartbeat")
        names = [await producer.enqueue(request()) for _ in range(2)]

        async def both_run() -> bool:
            return bool(await redis.exists(*(keys.HOLDER + name for name in names)) == 2)

        await eventually(both_run, "two running jobs")
        async with worker(helper, redis_url):
            await asyncio.sleep(1.5)  # both run, and for longer than `spill_after`
            later = await producer.enqueue(request())
            await producer.wait(names[0], timeout=60)
            assert [(await producer.wait(name, timeout=60)).backend for name in names] == ["simulated"] * 2
            assert (await producer.wait(later, timeout=60)).ok
    assert fault_server.hits(model) <= 1


async def test_a_ledger_does_not_grow_while_every_backend_only_says_later(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    limited = {"status": 429, "headers": {"retry-after": "0.2", "x-should-retry": "false"}}
    fault_server.plan(model, *[limited] * 5)
    fault_server.plan(f"{model}-2", *[limited] * 5)
    async with worker(settings(fault_server, f"first:{model}", f"second:{model}-2"), redis_url):
        result = await ask(producer, route="cloud", max_tokens=5)
    assert result.ok, result.error
    assert len(result.attempts) <= 3


async def test_rate_limits_put_a_job_back_without_spending_a_try(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    limited = {"status": 429, "headers": {"retry-after": "0.2", "x-should-retry": "false"}}
    fault_server.plan(model, *[limited] * 6)
    async with worker(settings(fault_server, f"first:{model}"), redis_url):
        result = await ask(producer, route="cloud")
    assert result.ok, result.error
    # Six refusals are more than max_tries; they are one line, because they say the same.
    assert ledger(result) == [("first", "failed", "rate_limited"), ("first", "completed", None)]
    assert "no try spent" in (result.attempts[0].moved_on or "")


async def test_a_job_fails_after_its_tries_and_is_kept_as_a_dead_letter(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then={"status": 500})
    found = settings(fault_server, f"first:{model}").model_copy(update={"max_tries": 2})
    async with worker(found, redis_url):
        result = await ask(producer, route="cloud")
        assert [outcome for _, outcome, _ in ledger(result)] == ["failed", "failed"]
        fault_server.plan(model, then={})
        (letter,) = [letter async for letter in producer.dead_letters()]
        assert letter.job_id == result.job_id
        assert await producer.retry(letter.job_id) == 1
        again = await producer.wait(letter.job_id, timeout=60)
    assert [outcome for _, outcome, _ in ledger(again)] == ["failed", "failed", "completed"]


async def test_a_wrong_key_fails_no_job_and_is_never_quoted(
    producer: Producer, redis: ArqRedis, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    body = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}
    fault_server.plan(model, then={"status": 401, "json": body})
    async with worker(settings(fault_server, f"first:{model}"), redis_url):
        job_id = await producer.enqueue(request(route="cloud"))
        (reason,) = await eventually(lambda: waits(producer), "a parked endpoint")
        assert "401" in reason
        assert KEY not in reason
        await eventually(lambda: unheld(producer), "the job back in its lane")
    assert await producer.result(job_id) is None
    assert fault_server.hits(model) == 1
    for key in await redis.keys("*"):
        kind = (await redis.type(key)).decode()
        value = await redis.get(key) if kind == "string" else await redis.dump(key)
        assert KEY.encode() not in (value or b"")


async def test_an_unsure_outcome_fails_the_job_that_must_not_be_paid_twice(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then={"cut": "before"})
    async with worker(settings(fault_server, f"first:{model}"), redis_url):
        result = await ask(producer, route="cloud", on_ambiguous="fail")
    assert ledger(result) == [("first", "ambiguous", "ambiguous")]
    assert len(fault_server.seen(model)) == 1


async def test_an_unsure_outcome_is_tried_again_by_default_and_the_ledger_shows_both(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, {"cut": "before"})
    async with worker(settings(fault_server, f"first:{model}"), redis_url):
        result = await ask(producer, route="cloud")
    assert [outcome for _, outcome, _ in ledger(result)] == ["ambiguous", "completed"]


async def test_an_open_breaker_stops_calls_and_the_jobs_wait_without_spending_tries(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then={"status": 500})
    client: Any = producer.redis
    found = settings(fault_server, f"first:{model}", breaker={"fail_max": 3, "reset_timeout": 0.5})
    async with worker(found, redis_url):
        batch = await producer.enqueue_batch(requests(40, route="cloud"))

        async def changes() -> int:
            found = [await client.hget(key, "epoch") for key in await client.keys(keys.BREAKER + "http*" + model)]
            return int(found[0]) if found else 0

        async def opened_again() -> bool:
            return await changes() >= 5  # open, half-open, open, half-open, open

        await eventually(opened_again, "two probes that failed")
        during = len(fault_server.seen(model))
        # Those under way when it opened, and single probes after; not 40 again and again.
        assert during <= 40 + await changes()
        fault_server.plan(model, then={})
        results = [result async for result in producer.results(batch.id)]
    assert all(result.ok for result in results)
    assert len(results) == 40


async def test_a_deadline_ends_a_call_and_closes_its_connection(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then={"delay": 60})
    async with worker(settings(fault_server, f"first:{model}"), redis_url):
        result = await ask(producer, route="cloud", deadline=0.5)

        async def closed() -> bool:
            return [seen["end"] for seen in fault_server.seen(model)] == ["client gone"]

        await eventually(closed, "the connection being closed")
    assert result.state is JobState.EXPIRED


async def test_cancelling_a_cloud_job_closes_its_connection(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then={"delay": 60})
    async with worker(settings(fault_server, f"first:{model}"), redis_url):
        name = await producer.enqueue(request(route="cloud"))

        async def asked() -> bool:
            return len(fault_server.seen(model)) == 1

        await eventually(asked, "the call")
        await producer.cancel(name)

        async def closed() -> bool:
            return bool(fault_server.seen(model)[0]["end"] == "client gone")

        await eventually(closed, "the connection being closed")
        assert (await producer.wait(name, timeout=60)).state is JobState.CANCELLED


async def test_a_missing_key_is_named_before_anything_starts(redis_url: str, fault_server: FaultServer) -> None:
    os.environ.pop("TEST_KEY")
    with pytest.raises(ConfigError, match="TEST_KEY is not set"):
        await run_worker(settings(fault_server, "first:x"), redis_url, handle_signals=False)


def test_a_mapping_to_an_unknown_provider_names_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="provider 'opnai'; there are: anthropic, openai"):
        WorkerSettings(models=(ModelSettings(name="m", cloud=("opnai:gpt",)),))


async def test_a_followed_cloud_job_streams(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    async with worker(settings(fault_server, f"first:{model}"), redis_url):
        name = await producer.enqueue(request(route="cloud", stream=True))
        result = await producer.wait(name, timeout=60)
        text = "".join([delta.content async for delta in producer.stream(name)])
    assert text == result.text == "a good answer"
