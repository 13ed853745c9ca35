"""What a worker tells Prometheus is what happened."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import pytest
from arq import ArqRedis
from prometheus_client import CollectorRegistry, generate_latest

from faultserver import FaultServer
from faultserver.redis_process import RedisProcess
from helpers.fake_worker import FakeWorker
from helpers.protocol import LANE, claim_client, release
from helpers.requests import request, requests
from helpers.scraping import Scrape, scrape
from helpers.waiting import eventually
from helpers.workers import simulated, worker
from windfall import ConfigError, Producer
from windfall.broker.clock import RedisClock
from windfall.embedded.broker import free_port
from windfall.errors import BackendUnavailable
from windfall.result import Completion
from windfall.runtime.tasks import cancel_all
from windfall_worker.backends.capacity import Capacity
from windfall_worker.backends.routing import GuardedBackend, ModelBackends
from windfall_worker.backends.simulated import SimulatedBackend
from windfall_worker.engine.protocol import Beat
from windfall_worker.main import run_worker
from windfall_worker.metrics.observed import Observed
from windfall_worker.queue.lanes import LaneGroup, watch_backlogs
from windfall_worker.recorder import Recorder
from windfall_worker.settings import ModelSettings, ProviderSettings, WorkerSettings


async def test_a_batchs_own_counts_are_those_of_the_endpoint(producer: Producer, redis_url: str) -> None:
    port = free_port()
    async with worker(simulated(slots=8, metrics_port=port), redis_url):
        batch = await producer.enqueue_batch(requests(30))
        late = await producer.enqueue_batch(requests(4, deadline=0.000001))
        _ = [result async for result in producer.results(batch.id)]
        _ = [result async for result in producer.results(late.id)]
        batch, late = await producer.batch(batch.id), await producer.batch(late.id)
        seen = await scrape(port)
    lane = {"model": "m", "route": "auto"}
    assert (batch.completed, late.expired) == (30, 4)
    assert seen("windfall_jobs_total", **lane, state="completed") == 30
    assert seen("windfall_jobs_total") - 30 <= 4, "what was overdue may have been ended by the producer's sweep"
    assert seen("windfall_attempts_total", model="m", backend="simulated", outcome="completed", error="") == 30
    assert seen("windfall_tokens_total", kind="prompt") == batch.usage.prompt_tokens
    assert seen("windfall_tokens_total", kind="completion") == batch.usage.completion_tokens
    assert seen("windfall_job_wait_seconds_count", **lane) == 30
    assert seen("windfall_attempt_seconds_count", model="m", backend="simulated") == 30
    assert seen("windfall_claim_seconds_count") > 0
    assert seen("windfall_slots", model="m", place="local") == 8
    assert seen("windfall_slots_free") == 8
    assert seen("windfall_paused") == 0
    assert not [name for name in seen.names if name.endswith("_created") or not name.startswith("windfall_")]
    assert seen("windfall_engine_up", model="m") == 1


async def test_what_runs_and_what_waits_is_told_while_it_does(producer: Producer, redis_url: str) -> None:
    port = free_port()
    async with worker(simulated(latency=60, slots=3, drain_timeout=0, metrics_port=port), redis_url) as stop:
        batch = await producer.enqueue_batch(requests(10))

        async def full() -> Scrape | None:
            seen = await scrape(port)
            return seen if seen("windfall_backlog_jobs", model="m", route="auto") == 7 else None

        seen: Scrape = await eventually(full, "a backlog of seven")
        assert (seen("windfall_slots_used"), seen("windfall_slots_free")) == (3, 0)
        await producer.cancel(batch.id)

        async def cancelled() -> bool:
            return (await scrape(port))("windfall_jobs_total", state="cancelled") == 3

        await eventually(cancelled, "three jobs that were cancelled while they ran")
        stop.set()


async def test_what_was_put_back_is_in_the_backlog_once_it_is_due(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(4))
    later, due, _running = (await claim_client(redis).claim([LANE], 3)).claims
    await release(redis, later, 60_000, "undo")
    await release(redis, due, 0, "undo")
    capacity = Capacity(4)
    groups = (LaneGroup("m", capacity, (LANE,), lambda: (LANE,)),)
    watching = asyncio.create_task(watch_backlogs(redis, RedisClock(redis), groups, Recorder()))

    async def told() -> int:
        return capacity.backlog

    try:
        assert await eventually(told, "a backlog") == 2  # the one that was never claimed, and the one that is due
    finally:
        await cancel_all([watching])


async def test_an_outage_of_redis_shows() -> None:
    port = free_port()
    with RedisProcess() as server:
        async with worker(simulated(lease=1, metrics_port=port), server.url):
            before = await scrape(port)
            server.kill()

            async def noticed() -> bool:
                seen = await scrape(port)
                failures = partial(seen, "windfall_redis_failures_total")
                return min(failures(step="claim"), failures(step="renew"), seen("windfall_heartbeats_missed_total")) > 0

            await eventually(noticed, "an outage in the metrics")
            server.start()
    assert before("windfall_redis_failures_total") == before("windfall_heartbeats_missed_total") == 0
    assert before.labels("windfall_redis_failures_total", "step") == {"claim", "renew", "deliver", "look"}


async def test_an_open_breaker_shows(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-private")
    fault_server.plan(model, then={"status": 500})
    port = free_port()
    body = {"protocol": "openai", "base_url": fault_server.url, "api_key_env": "TEST_KEY", "max_retries": 0}
    provider = ProviderSettings.model_validate({**body, "breaker": {"fail_max": 2, "reset_timeout": 60}})
    served = ModelSettings(name="m", cloud=(f"it:{model}",))
    settings = WorkerSettings(models=(served,), providers={"it": provider}, metrics_port=port, drain_timeout=0)
    async with worker(settings, redis_url):
        breaker = f"{fault_server.url.removesuffix('/v1')}/{model}"
        assert (await scrape(port))("windfall_breaker_state", breaker=breaker, state="closed") == 1
        for _ in range(3):
            await producer.enqueue(request(route="cloud"))

        async def opened() -> Scrape | None:
            seen = await scrape(port)
            return seen if seen("windfall_breaker_state", breaker=breaker, state="open") else None

        seen: Scrape = await eventually(opened, "an open breaker in the metrics")
        assert seen("windfall_breaker_state", breaker=breaker) == 1
        assert seen("windfall_attempts_total", backend="it", outcome="failed", error="backend_unavailable") >= 2
        assert seen("windfall_job_returns_total", why="retry") >= 2


async def test_a_try_that_fails_while_its_worker_drains_is_counted_as_one(
    producer: Producer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[asyncio.Event] = []

    async def fail(*_: object) -> Completion:
        ends.append(asyncio.Event())
        await ends[-1].wait()
        raise BackendUnavailable("out of memory")

    monkeypatch.setattr(SimulatedBackend, "complete", fail)
    port = free_port()
    async with worker(simulated(slots=2, metrics_port=port), redis_url) as stop:
        await producer.enqueue_batch(requests(2))

        async def both_run() -> bool:
            return len(ends) == 2

        await eventually(both_run, "two running jobs")
        stop.set()

        async def one_came_back() -> bool:
            seen = await scrape(port)
            return seen("windfall_paused", reason="draining") == 1 and seen("windfall_job_returns_total") == 1

        ends[0].set()
        await eventually(one_came_back, "one that came back")
        assert (await scrape(port)).labels("windfall_job_returns_total", "why") == {"retry"}
        ends[1].set()


async def test_a_port_in_use_is_named_before_anything_else_happens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        unloadable = WorkerSettings(models=(ModelSettings(name="m", mlx="no/such-model"),), metrics_port=port)
        with pytest.raises(ConfigError, match=rf"port {port} on 127\.0\.0\.1 is in use.*another --metrics-port"):
            await run_worker(unloadable, "redis://127.0.0.1:1")


async def test_the_port_is_free_again_when_the_worker_has_ended(redis_url: str) -> None:
    port = free_port()
    for _ in range(2):
        async with worker(simulated(metrics_port=port), redis_url):
            assert (await scrape(port))("windfall_build_info") == 1
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


class _Engine(SimulatedBackend):
    @property
    def beat(self) -> Beat:
        return Beat(
            step=7, active=2, waiting=1, memory=4096, generated_tokens=90, prefill_tokens=50, cached_tokens=10,
            busy=1.5, stalled=0.25, idle=3,
        )  # fmt: skip


def test_an_engine_is_told_of_by_its_last_beat_and_a_pause_by_its_reason_also_when_it_is_over() -> None:
    capacity = Capacity(4)
    found = ModelBackends(GuardedBackend(_Engine(0), capacity, asyncio.Semaphore(4)))
    watched = FakeWorker(ends_waiting=2)
    groups = (LaneGroup("m", capacity, ("x",), lambda: ()),)
    registry = CollectorRegistry()
    registry.register(Observed(watched, groups, {"m": found}))
    watched.gate.shut("battery", "the battery is at 30 %")
    first = Scrape(generate_latest(registry).decode())
    watched.gate.lift("battery")
    watched.drain()
    second = Scrape(generate_latest(registry).decode())
    assert first("windfall_engine_steps_total", model="m") == 7
    assert first("windfall_engine_memory_bytes") == 4096
    kinds = ("busy", "stalled", "idle")
    assert [first("windfall_engine_seconds_total", kind=kind) for kind in kinds] == [1.5, 0.25, 3]
    assert first("windfall_engine_tokens_total", kind="generated") == 90
    assert first("windfall_engine_sequences", state="waiting") == 1
    assert first("windfall_ends_waiting") == 2
    reasons = ("battery", "draining")
    assert [first("windfall_paused", reason=reason) for reason in reasons] == [1, 0]
    assert [second("windfall_paused", reason=reason) for reason in reasons] == [0, 1]
