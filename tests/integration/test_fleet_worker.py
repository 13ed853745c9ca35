"""A whole worker in this process, on a real Redis, with simulated completions."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from arq import ArqRedis
from arq.connections import RedisSettings as ArqRedisSettings
from arq.connections import create_pool
from arq.jobs import Job as ArqJob
from arq.jobs import JobStatus

from helpers.requests import request, requests
from helpers.waiting import eventually
from helpers.workers import hold_jobs, let_jobs_wait_behind_one, simulated, worker
from windfall import BrokerFull, CompletionFailed, CompletionResult, JobState, Producer, keys
from windfall.batch import BatchState
from windfall.embedded.broker import free_port, redis_server
from windfall.result import Completion
from windfall.runtime.tasks import cancel_all
from windfall.wire import JobMessage, decode_job, encode_job, job_deserializer, job_serializer
from windfall_worker.backends.base import Call
from windfall_worker.backends.simulated import SimulatedBackend
from windfall_worker.main import run_worker

LANE = keys.lane_queue("m", "auto")


async def collect(producer: Producer, batch_id: str) -> list[CompletionResult]:
    return [result async for result in producer.results(batch_id)]


async def test_every_row_of_a_batch_ends_in_exactly_one_result(producer: Producer, redis_url: str) -> None:
    async with worker(simulated(slots=16), redis_url), worker(simulated(slots=16), redis_url):
        batch = await producer.enqueue_batch(requests(500))
        results = await collect(producer, batch.id)
    assert sorted(result.custom_id or "" for result in results) == sorted(f"c{n}" for n in range(1, 501))
    status = await producer.batch(batch.id)
    assert (status.completed, status.state, status.usage.completion_tokens) == (500, BatchState.FINISHED, 2500)


async def test_a_worker_runs_as_many_jobs_at_once_as_it_has_slots(producer: Producer, redis_url: str) -> None:
    async with worker(simulated(latency=0.4, slots=7), redis_url):
        batch = await producer.enqueue_batch(requests(21))
        began = asyncio.get_running_loop().time()
        await collect(producer, batch.id)
        took = asyncio.get_running_loop().time() - began
    # Three waves of 0.4 s; a slot too many would make it two, a slot too few four. The upper side is left to
    # the benchmark: a loaded machine may be late.
    assert took > 1.1


async def test_a_deferred_job_starts_when_it_is_due_without_a_poll(
    producer: Producer, redis: ArqRedis, redis_url: str
) -> None:
    async with worker(simulated(), redis_url):
        job = await redis.enqueue_job("complete", request(), _queue_name=LANE, _defer_by=0.3)
        assert job is not None
        assert (await producer.wait(job.job_id, timeout=60)).state is JobState.COMPLETED


async def test_a_job_of_stock_arq_runs_and_stock_arq_reads_status_and_result_of_ours(
    producer: Producer, redis_url: str
) -> None:
    port = int(redis_url.rpartition(":")[2])
    stock = await create_pool(
        ArqRedisSettings(port=port), job_serializer=job_serializer, job_deserializer=job_deserializer
    )
    try:
        theirs = await stock.enqueue_job("complete", request(), _queue_name=LANE)
        assert theirs is not None
        assert await theirs.status() is JobStatus.queued
        async with worker(simulated(latency=0.3), redis_url):
            ours = ArqJob(await producer.enqueue(request()), stock, LANE, job_deserializer)

            async def in_progress() -> bool:
                return await ours.status() is JobStatus.in_progress

            await eventually(in_progress, "our job being in progress for stock arq")
            result = await ours.result(timeout=60, poll_delay=0.05)
            assert isinstance(result, CompletionResult)
            assert result.ok
            assert await ours.status() is JobStatus.complete
            assert (await theirs.result(timeout=60, poll_delay=0.05)).ok
        info = await ours.result_info()
        assert info is not None
        assert (info.function, list(info.args), info.success) == ("complete", [], True)
    finally:
        await stock.aclose()


async def test_stock_arq_raises_what_a_failed_job_failed_of(
    producer: Producer, redis: ArqRedis, redis_url: str
) -> None:
    async with worker(simulated(), redis_url):
        job = await redis.enqueue_job("complete", request(model="other"), _queue_name=LANE)
        assert job is not None
        with pytest.raises(CompletionFailed, match="does not serve model 'other'"):
            await job.result(timeout=60, poll_delay=0.05)


async def test_draining_hands_back_at_once_and_spends_no_try(producer: Producer, redis_url: str) -> None:
    batch = await producer.enqueue_batch(requests(6))
    async with worker(simulated(latency=60, slots=4, drain_timeout=0.1), redis_url):

        async def all_running() -> bool:
            return (await producer.batch(batch.id)).running == 4

        await eventually(all_running, "four running jobs")
    status = await producer.batch(batch.id)
    assert (status.queued, status.running) == (6, 0)
    async with worker(simulated(), redis_url):
        results = await collect(producer, batch.id)
    assert [[attempt.outcome for attempt in result.attempts] for result in results].count(["completed"]) >= 2
    assert all(result.ok and result.attempts[-1].outcome == "completed" for result in results)
    assert not any(attempt.outcome in ("failed", "lost") for result in results for attempt in result.attempts)


async def test_a_draining_worker_lets_running_jobs_end(producer: Producer, redis_url: str) -> None:
    batch = await producer.enqueue_batch(requests(4))
    async with worker(simulated(latency=0.5, slots=2, drain_timeout=20), redis_url):

        async def two_running() -> bool:
            return (await producer.batch(batch.id)).running == 2

        await eventually(two_running, "two running jobs")
    status = await producer.batch(batch.id)
    assert (status.completed, status.queued) == (2, 2)


async def test_what_waits_behind_the_slots_is_handed_back_at_once_when_draining(
    producer: Producer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_jobs_wait_behind_one(monkeypatch)
    batch = await producer.enqueue_batch(requests(3))
    async with worker(simulated(latency=1.0, slots=1, drain_timeout=60), redis_url):

        async def all_claimed() -> bool:
            return (await producer.batch(batch.id)).running == 3

        await eventually(all_claimed, "one job running and two waiting behind it")
    status = await producer.batch(batch.id)
    assert (status.completed, status.queued) == (1, 2)


async def test_cancelling_a_running_job_frees_its_slot_and_ends_it_as_cancelled(
    producer: Producer, redis: ArqRedis, redis_url: str
) -> None:
    # With leases this long no renewal comes in time: the worker has to be told.
    async with worker(simulated(latency=60, slots=1, drain_timeout=0, lease=600), redis_url):
        stuck = await producer.enqueue(request())
        await eventually(lambda: redis.exists(keys.HOLDER + stuck), "the job running")
        assert await producer.cancel(stuck) == 1
        result = await producer.wait(stuck, timeout=60)
        assert (result.state, result.error and result.error.type) == (JobState.CANCELLED, "cancelled")
        following = await producer.enqueue(request())
        await eventually(lambda: redis.exists(keys.HOLDER + following), "the slot being free")
    assert not await redis.exists(keys.ABORT)


async def test_what_is_not_done_by_its_deadline_expires(producer: Producer, redis_url: str) -> None:
    waited_too_long = await producer.enqueue(request(deadline=0.05))
    await asyncio.sleep(0.1)
    async with worker(simulated(latency=30, drain_timeout=0), redis_url):
        runs_too_long = await producer.enqueue(request(deadline=0.3))
        for name in (waited_too_long, runs_too_long):
            result = await producer.wait(name, timeout=60)
            assert (result.state, result.error and result.error.type) == (JobState.EXPIRED, "deadline_exceeded")


async def test_a_follower_who_comes_late_sees_every_piece(producer: Producer, redis_url: str) -> None:
    async with worker(simulated(latency=0.2), redis_url):
        name = await producer.enqueue(request(stream=True))
        result = await producer.wait(name, timeout=60)
        pieces = [delta async for delta in producer.stream(name)]
    assert pieces[0].attempt == 1
    assert "".join(piece.content for piece in pieces) == result.text


async def test_a_job_that_no_producer_would_have_taken_fails_without_being_decoded(
    producer: Producer, redis: ArqRedis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    def decode(data: bytes) -> JobMessage:
        decoded.append(len(data))
        return decode_job(data)

    monkeypatch.setattr("windfall_worker.jobs.job.decode_job", decode)
    for name, text in {"large": "x" * 20_000, "small": "x" * 9000}.items():
        await redis.set(keys.PAYLOAD + name, encode_job(request(text), 1))
        await redis.zadd(LANE, {name: 1})
    async with worker(simulated(max_row_bytes=10_000), redis_url):
        large, small = [await producer.wait(name, timeout=60) for name in ("large", "small")]
    assert (large.state, large.error and large.error.type) == (JobState.FAILED, "invalid_payload")
    assert "the limit is 10,000 bytes a row (setting max_row_bytes)" in (large.error.message if large.error else "")
    assert small.ok
    assert max(decoded) < 10_000


async def test_a_payload_that_is_no_job_fails_with_the_reason(
    producer: Producer, redis: ArqRedis, redis_url: str
) -> None:
    payloads = {"a": b"\x80\x04garbage", "b": b'{"v":1,"f":"complete","et":1,"a":[{}]}', "c": b'{"v":1,"f":"x"}'}
    for name, payload in payloads.items():
        await redis.set(keys.PAYLOAD + name, payload)
        await redis.zadd(LANE, {name: 1})
    async with worker(simulated(), redis_url):
        for name in payloads:
            result = await producer.wait(name, timeout=60)
            assert (result.state, result.error and result.error.type) == (JobState.FAILED, "invalid_payload")


async def test_a_message_of_another_contract_version_is_left_to_others(
    producer: Producer, redis: ArqRedis, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await redis.set(keys.PAYLOAD + "newer", b'{"v":99,"f":"complete","et":1,"a":[]}')
    await redis.zadd(LANE, {"newer": 1})
    async with worker(simulated(), redis_url):

        async def put_back() -> bool:
            score = await redis.zscore(LANE, "newer")
            return bool(score and score > 1) and not await redis.exists(keys.HOLDER + "newer")

        await eventually(put_back, "the message being put back")
    assert await redis.exists(keys.PAYLOAD + "newer")
    assert "contract 99" in caplog.text


async def test_a_job_that_was_lost_too_often_fails_as_worker_lost(
    producer: Producer, redis: ArqRedis, redis_url: str
) -> None:
    name = await producer.enqueue(request())
    await redis.hset(keys.JOB + name, "deliveries", "3")  # type: ignore[misc]
    async with worker(simulated(), redis_url):
        result = await producer.wait(name, timeout=60)
    assert (result.state, result.error and result.error.type) == (JobState.FAILED, "worker_lost")


def count_endings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the jobs that a backend has completed, so far and from now on."""
    ended: list[str] = []
    complete = SimulatedBackend.complete

    async def counted(self: SimulatedBackend, call: Call) -> Completion:
        completion = await complete(self, call)
        ended.append(call.job_id)
        return completion

    monkeypatch.setattr(SimulatedBackend, "complete", counted)
    return ended


async def test_results_wait_out_an_outage_of_redis(
    redis_server_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = count_endings(monkeypatch)
    port = free_port()
    async with redis_server(redis_server_binary, tmp_path, "--appendfsync", "always", port=port) as url:
        async with Producer(url) as producer:
            batch = await producer.enqueue_batch(requests(8), batch_id="b")
        stop, ready = asyncio.Event(), asyncio.Event()
        settings = simulated(latency=1.0, slots=4)
        running = asyncio.create_task(run_worker(settings, url, ready=ready, stop=stop, handle_signals=False))
        await ready.wait()
    await eventually(lambda: ended, "the end of running jobs while Redis is away")
    async with redis_server(redis_server_binary, tmp_path, "--appendfsync", "always", port=port) as url:
        async with Producer(url) as producer:
            results = await asyncio.wait_for(collect(producer, "b"), 60)
            status = await producer.batch(batch.id)
        stop.set()
        await running
    assert (len(results), status.completed, status.running) == (8, 8, 0)
    assert all([attempt.outcome for attempt in result.attempts] == ["completed"] for result in results)


async def test_a_full_redis_stops_producers_and_not_workers(
    producer: Producer, redis: ArqRedis, redis_url: str
) -> None:
    async with worker(simulated(latency=0.5, slots=4), redis_url):
        batch = await producer.enqueue_batch(requests(8))

        async def four_running() -> bool:
            return (await producer.batch(batch.id)).running == 4

        try:
            await eventually(four_running, "four running jobs")
            await redis.config_set("maxmemory", 1)
            with pytest.raises(BrokerFull, match="out of memory"):
                await producer.enqueue(request())
            results = await asyncio.wait_for(collect(producer, batch.id), 60)
        finally:
            await redis.config_set("maxmemory", 0)
    assert [[attempt.outcome for attempt in result.attempts] for result in results] == [["completed"]] * 8


async def test_a_worker_that_is_cancelled_hands_back_what_it_runs(producer: Producer, redis_url: str) -> None:
    ready = asyncio.Event()
    settings = simulated(latency=60, slots=3)
    running = asyncio.create_task(run_worker(settings, redis_url, ready=ready, handle_signals=False))
    await ready.wait()
    batch = await producer.enqueue_batch(requests(3))

    async def all_running() -> bool:
        return (await producer.batch(batch.id)).running == 3

    await eventually(all_running, "three running jobs")
    await cancel_all([running])
    assert (await producer.batch(batch.id)).queued == 3


async def test_a_failure_of_the_worker_itself_keeps_the_rows_name_and_quotes_nothing(
    producer: Producer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a secret prompt")

    monkeypatch.setattr(SimulatedBackend, "complete", broken)
    async with worker(simulated(), redis_url):
        result = await producer.wait(await producer.enqueue(request(custom_id="mine")), timeout=60)
    assert (result.custom_id, result.model, result.error and result.error.type) == ("mine", "m", "internal_error")
    assert "secret" not in result.model_dump_json()


async def test_no_prompt_reaches_a_log(producer: Producer, redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with worker(simulated(), redis_url):
        await producer.wait(await producer.enqueue(request("a secret prompt")), timeout=60)
    assert "completed" in caplog.text
    assert "secret" not in caplog.text


async def test_what_redis_does_not_take_now_is_kept_and_delivered_later(
    producer: Producer, redis: ArqRedis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, ended = hold_jobs(monkeypatch), count_endings(monkeypatch)
    async with worker(simulated(latency=0.01, slots=4), redis_url):
        batch = await producer.enqueue_batch(requests(4))

        async def four_running() -> bool:
            return (await producer.batch(batch.id)).running == 4

        await eventually(four_running, "four running jobs")
        # A replica that follows nobody yet refuses every write, as in the middle of a failover.
        await redis.replicaof("127.0.0.1", 1)
        try:
            held.set()
            await eventually(lambda: len(ended) == 4, "the end of all four")
            assert (await producer.batch(batch.id)).running == 4
        finally:
            await redis.replicaof("NO", "ONE")
        results = await asyncio.wait_for(collect(producer, batch.id), 60)
    assert [[attempt.outcome for attempt in result.attempts] for result in results] == [["completed"]] * 4
