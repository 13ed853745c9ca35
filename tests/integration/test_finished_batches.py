"""Batches that have ended are listed for as long as they are kept."""

from __future__ import annotations

import pytest
from arq import ArqRedis

from helpers.requests import request, requests
from helpers.workers import simulated, worker
from windfall import InvalidRequest, InvalidRow, Producer, keys


async def test_finished_batches_are_listed_by_their_end_with_owner_rows_and_failures(
    producer: Producer, redis_url: str
) -> None:
    wrong = InvalidRow("wrong", 3, InvalidRequest("is missing", field="messages"))
    first = await producer.enqueue_batch(requests(2), batch_id="first", owner="ann")
    second = await producer.enqueue_batch([*requests(2), wrong], batch_id="second", keep=0)
    await producer.enqueue_batch([request(model="nobody")], batch_id="waits")
    await producer.pause("batch", first.id)
    async with worker(simulated(), redis_url):
        assert len([result async for result in producer.results(second.id)]) == 3
        await producer.resume("batch", first.id)
        assert len([result async for result in producer.results(first.id)]) == 2
    found = await producer.finished_batches()
    assert [(each.id, each.owner, each.total, each.failed) for each in found] == [
        ("first", "ann", 2, 0),
        ("second", None, 3, 1),
    ]
    assert [each.id for each in await producer.finished_batches(1)] == ["first"]
    await producer.cancel("waits")
    assert (await producer.finished_batches(1))[0].id == "waits"
    await producer.delete("first")
    assert [each.id for each in await producer.finished_batches()] == ["waits", "second"]


async def test_a_thousand_finished_batches_are_read_in_pages(producer: Producer, redis: ArqRedis) -> None:
    now = 1_700_000_000_000
    async with redis.pipeline(transaction=False) as pipe:
        for number in range(1000):
            name = f"b{number:04}"
            ended = now + (number * 7919) % 1000  # in no order
            pipe.hset(keys.BATCH + name, mapping={"created": now + number, "sealed": 1, "total": 0, "finished": ended})
            pipe.zadd(keys.BATCHES, {name: now + number})
        pipe.zadd(keys.BATCHES, {b"\xff\xfe": now, b"gone": now})
        pipe.set(keys.BATCH + "gone", "not a hash")
        await pipe.execute()
    found = await producer.finished_batches(250)
    assert [each.finished_at for each in found] == [(now + 999 - n) / 1000 for n in range(250)]


@pytest.mark.parametrize("field", ["deleted", "created"])
async def test_a_batch_that_is_being_deleted_is_not_listed(producer: Producer, redis: ArqRedis, field: str) -> None:
    await producer.enqueue_batch([], batch_id="empty")
    assert [each.id for each in await producer.finished_batches()] == ["empty"]
    if field == "deleted":
        await redis.hset(keys.BATCH + "empty", field, "1")  # type: ignore[misc]
    else:
        await redis.hdel(keys.BATCH + "empty", field)  # type: ignore[misc]
    assert await producer.finished_batches() == []
