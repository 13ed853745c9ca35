"""What sweepers go on with, and what they take out of the indexes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from arq import ArqRedis

from helpers.protocol import LANE, SHORT, claim_client, finish
from helpers.requests import request, requests
from helpers.waiting import eventually
from windfall import JobState, Producer, keys
from windfall.batch import BatchState
from windfall.broker.clock import RedisClock
from windfall.queue import housekeeping
from windfall.queue.housekeeping import Housekeeping
from windfall.queue.unfinished import read_unended


def sweeper(redis: ArqRedis) -> Housekeeping:
    return Housekeeping(redis, RedisClock(redis), 60_000)


class Killed(BaseException):
    """The process ends here."""


async def test_cancelling_that_was_cut_off_is_gone_on_with(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await producer.enqueue_batch(requests(1300))
    pages = 0

    async def dies_on_its_second_page(*args: Any) -> Any:
        nonlocal pages
        pages += 1
        if pages == 2:
            raise Killed
        return await read_unended(*args)

    with monkeypatch.context() as patch:
        patch.setattr("windfall.queue.cancelling.read_unended", dies_on_its_second_page)
        with pytest.raises(Killed):
            await producer.cancel(batch.id)
    assert await redis.hget(keys.BATCH + batch.id, "queued") == b"800"  # type: ignore[misc]
    await sweeper(redis).sweep()
    status = await producer.batch(batch.id)
    assert (status.queued, status.cancelled, status.state) == (0, 1300, BatchState.CANCELLED)
    assert await redis.scard(keys.CANCELLING) == 0  # type: ignore[misc]


async def test_a_batch_deleted_while_it_was_being_cancelled_does_not_come_back(
    producer: Producer, redis: ArqRedis
) -> None:
    batch = await producer.enqueue_batch(requests(3))
    await redis.sadd(keys.CANCELLING, batch.id)  # type: ignore[misc]
    await producer.delete(batch.id, cancel=True)
    await redis.sadd(keys.CANCELLING, batch.id)  # type: ignore[misc]
    await sweeper(redis).sweep()
    assert not await redis.exists(keys.BATCH + batch.id)
    assert not await redis.exists(keys.CANCELLING)


async def test_a_cancelled_job_whose_worker_died_ends_without_another(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "_ABORT_PATIENCE", 0)
    name = await producer.enqueue(request())
    await claim_client(redis, "w1", SHORT).claim([LANE], 1)
    assert await producer.cancel(name) == 1

    async def ended() -> bool:
        await sweeper(redis).sweep()
        return await producer.state(name) is JobState.CANCELLED

    await eventually(ended, "the end of the job")


async def test_words_to_cancel_what_has_ended_do_not_gather_and_other_programs_jobs_are_left_alone(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "_ABORT_PATIENCE", 0)
    name = await producer.enqueue(request())
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    await finish(redis, claim)
    await redis.set(keys.PAYLOAD + "theirs", b"\x80\x04a pickle")
    await redis.zadd("arq:queue", {"theirs": 1})
    await redis.zadd(keys.ABORT, {name: 1, "nothing": 1, "theirs": 1})
    await sweeper(redis).sweep()
    assert await redis.zrange(keys.ABORT, 0, -1) == [b"theirs"]
    assert await redis.exists(keys.PAYLOAD + "theirs")


async def test_dead_letters_that_expired_leave_the_index(producer: Producer, redis: ArqRedis) -> None:
    names = [await producer.enqueue(request()) for _ in range(20)]
    kept = await producer.enqueue_batch(requests(1))
    for claim in (await claim_client(redis).claim([LANE], 21)).claims:
        await finish(redis, claim, JobState.FAILED)
    assert await redis.zcard(keys.DEAD_INDEX) == 21
    await redis.delete(*(keys.DEAD + name for name in names))  # as their expiry does
    await redis.zadd(keys.LETTERS, dict.fromkeys(names, 1))
    await sweeper(redis).sweep()
    assert await redis.zrange(keys.DEAD_INDEX, 0, -1) == [f"{kept.id}:1".encode()]
    assert await redis.zcard(keys.LETTERS) == 0


async def test_a_dead_letter_that_is_run_again_or_purged_is_not_waited_for(producer: Producer, redis: ArqRedis) -> None:
    names = [await producer.enqueue(request()) for _ in range(2)]
    for claim in (await claim_client(redis).claim([LANE], 2)).claims:
        await finish(redis, claim, JobState.FAILED)
    assert await redis.zcard(keys.LETTERS) == 2
    await producer.retry(names[0])
    await producer.purge([names[1]])
    assert await redis.zcard(keys.LETTERS) == 0


async def test_a_lane_without_jobs_for_long_goes_and_comes_back_with_its_next_job(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "_LANE_IDLE", 1)
    names = [await producer.enqueue(request(model=model)) for model in ("m", "other")]
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    await finish(redis, claim)

    async def gone() -> bool:
        await sweeper(redis).sweep()
        return not await redis.sismember(keys.LANES, LANE)  # type: ignore[misc]

    await eventually(gone, "the end of the lane")
    assert await redis.smembers(keys.LANES) == {keys.lane_queue("other", "auto").encode()}  # type: ignore[misc]
    assert await redis.zcard(keys.IDLE_LANES) == 0
    await producer.enqueue(request())
    assert len(await redis.smembers(keys.LANES)) == 2  # type: ignore[misc]
    assert await producer.state(names[1]) is JobState.QUEUED


async def test_a_lane_that_was_idle_and_has_jobs_again_stays(producer: Producer, redis: ArqRedis) -> None:
    name = await producer.enqueue(request())
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    await finish(redis, claim)
    await sweeper(redis).sweep()
    assert await redis.zcard(keys.IDLE_LANES) == 1
    await producer.enqueue(request())
    assert await redis.zcard(keys.IDLE_LANES) == 0
    assert await redis.sismember(keys.LANES, LANE)  # type: ignore[misc]
    assert await asyncio.wait_for(producer.wait(name), 60)
