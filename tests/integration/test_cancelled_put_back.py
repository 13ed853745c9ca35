"""A job that is cancelled and put back at once: whichever comes first, it ends as cancelled and runs no more."""

from __future__ import annotations

import json

import pytest
from arq import ArqRedis
from arq.jobs import Job as ArqJob

from helpers.batches import in_state
from helpers.protocol import LANE, claim_client, finish, release
from helpers.requests import request, requests
from helpers.workers import hold_jobs, let_jobs_wait_behind_one, simulated, worker
from windfall import JobState, Producer, keys
from windfall.wire import job_deserializer


async def test_a_job_that_is_to_be_cancelled_does_not_go_back_to_its_lane(producer: Producer, redis: ArqRedis) -> None:
    name = await producer.enqueue(request())
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    assert await producer.cancel(name) == 1
    assert await release(redis, claim, 30_000, "undo") == b"cancelled"
    assert await redis.get(keys.HOLDER + name) == claim.token.encode()
    assert await finish(redis, claim, JobState.CANCELLED) == b"ok"


async def test_a_worker_ends_what_was_cancelled_when_it_hands_its_jobs_back(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_jobs(monkeypatch)
    let_jobs_wait_behind_one(monkeypatch, waiting=2)
    await producer.enqueue_batch(requests(3), batch_id="b")
    # No renewal and no word tells this worker of the cancellation: it learns of it when it hands the jobs back.
    async with worker(simulated(0.01, slots=1, lease=3000, drain_timeout=0), redis):
        await in_state(producer, "b", running=3)
        await redis.zadd(keys.ABORT, {f"b:{n}": n for n in range(1, 4)})
    results = [result async for result in producer.results("b")]
    assert sorted((result.custom_id, result.state) for result in results) == [
        (f"c{n}", JobState.CANCELLED) for n in range(1, 4)
    ]
    assert await redis.zcard(keys.ABORT) == 0


async def test_a_cancelled_job_of_a_newer_contract_is_not_put_back_for_ever(
    producer: Producer, redis: ArqRedis
) -> None:
    message = {"v": 99, "f": "complete", "et": 1, "k": {}, "a": [{"of": "another shape"}]}
    await redis.set(f"{keys.PAYLOAD}newer", json.dumps(message))
    await redis.zadd(LANE, {"newer": 1})
    await redis.zadd(keys.ABORT, {"newer": 1})
    async with worker(simulated(), redis):
        assert (await producer.wait("newer", timeout=60)).state is JobState.CANCELLED


async def test_stock_abort_of_an_ended_job_does_not_cancel_its_later_retry(producer: Producer, redis: ArqRedis) -> None:
    name = await producer.enqueue(request())
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    await finish(redis, claim, JobState.FAILED)
    with pytest.raises(Exception, match="no reason was recorded"):
        await ArqJob(name, redis, LANE, job_deserializer).abort(timeout=60)
    assert await producer.retry(name) == 1
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    assert not claim.aborted
