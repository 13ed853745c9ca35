"""Rows that come slowly are sent all the same, and their batch is not taken for a forgotten one."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import closing

import pytest
import redis as sync_redis
from arq import ArqRedis

from helpers.batches import in_state
from helpers.protocol import finish_some
from helpers.requests import request
from helpers.waiting import eventually
from windfall import BatchCancelled, BatchDiffers, CompletionRequest, Producer, keys
from windfall.queue import incoming, submission
from windfall.queue.incoming import in_thread
from windfall.row import Row

PATIENCE = 30.0


class Source:
    """Gives three rows, and the rest when it is let go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.error: Exception | None = None

    def plain(self) -> Iterator[CompletionRequest]:
        yield from map(request, "123")
        self.go_on.wait(PATIENCE)
        if self.error:
            raise self.error
        yield from map(request, "45")

    def of(self, kind: str) -> AsyncIterable[Row]:
        return self.async_() if kind == "async" else in_thread(self.plain())

    async def async_(self) -> AsyncIterator[CompletionRequest]:
        for text in "123":
            yield request(text)
        async with asyncio.timeout(PATIENCE):
            while not self.go_on.is_set():  # noqa: ASYNC110 - set by both kinds of tests
                await asyncio.sleep(0.01)
        if self.error:
            raise self.error
        for text in "45":
            yield request(text)


async def opened(producer: Producer) -> None:
    await producer.open_batch(batch_id="b", keep=0.2)


@pytest.mark.parametrize("kind", ["in_thread", "async"])
async def test_what_has_come_is_sent_while_the_source_is_waited_for(producer: Producer, kind: str) -> None:
    source = Source()
    await opened(producer)
    submitting = asyncio.create_task(producer.enqueue_batch(source.of(kind), batch_id="b"))
    await in_state(producer, "b", queued=3)
    assert not submitting.done()
    source.go_on.set()
    batch = await submitting
    assert (batch.total, batch.sealed) == (5, True)


@pytest.mark.parametrize("kind", ["in_thread", "async"])
async def test_a_batch_whose_source_is_slow_is_kept_although_all_its_rows_have_ended(
    producer: Producer, redis: ArqRedis, kind: str
) -> None:
    source = Source()
    await opened(producer)
    submitting = asyncio.create_task(producer.enqueue_batch(source.of(kind), batch_id="b"))
    await in_state(producer, "b", queued=3)
    await finish_some(redis, 3)
    kept_until = []

    async def moved_on_twice() -> bool:
        assert (await producer.batch("b")).completed == 3
        until = await redis.zscore(keys.KEPT, "b")
        if until not in kept_until:
            kept_until.append(until)
        return len(kept_until) > 2

    await eventually(moved_on_twice, "a word of its submitter, twice")
    source.go_on.set()
    assert (await submitting).total == 5


@pytest.mark.parametrize("kind", ["in_thread", "async"])
async def test_a_submission_that_waits_for_its_source_hears_that_its_batch_is_cancelled(
    producer: Producer, kind: str
) -> None:
    source = Source()
    submitting = asyncio.create_task(producer.enqueue_batch(source.of(kind), batch_id="b"))
    await eventually(lambda: producer.redis.exists(keys.BATCH + "b"), what="the batch")
    await producer.cancel("b")
    with pytest.raises(BatchCancelled):
        await asyncio.wait_for(submitting, PATIENCE)
    source.go_on.set()


@pytest.mark.parametrize("kind", ["in_thread", "async"])
async def test_what_a_source_raises_is_raised_behind_the_rows_before_it(producer: Producer, kind: str) -> None:
    source = Source()
    source.error = RuntimeError("the laptop's battery is empty")
    source.go_on.set()
    with pytest.raises(RuntimeError, match="battery"):
        await producer.enqueue_batch(source.of(kind), batch_id="b")


@pytest.mark.parametrize("kind", ["in_thread", "async"])
async def test_a_submission_is_stopped_while_its_source_is_waited_for(producer: Producer, kind: str) -> None:
    source = Source()
    submitting = asyncio.create_task(producer.enqueue_batch(source.of(kind), batch_id="b"))
    await eventually(lambda: producer.redis.exists(keys.PAYLOAD + "b:3"), what="three rows")
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    assert not source.go_on.is_set()
    source.go_on.set()


async def test_rows_of_a_plain_source_that_takes_its_time_are_sent_before_the_next_is_waited_for(
    producer: Producer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "_SLOW", 0.0)
    there = []
    with sync_redis.Redis.from_url(redis_url) as looking:

        def rows() -> Iterator[CompletionRequest]:
            for text in "123":
                there.append(looking.hget(keys.BATCH + "b", "queued"))
                yield request(text)

        await producer.enqueue_batch(rows(), batch_id="b")
    assert there == [b"0", b"1", b"2"]


@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_source_that_belongs_to_its_thread_is_read_there(producer: Producer, *, wrapped: bool) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = lambda _, found: request(str(found[0]))
        query = "WITH RECURSIVE t(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM t LIMIT 700) SELECT n FROM t"
        cursor = database.execute(query)
        rows = (row for row in cursor) if wrapped else cursor
        assert (await producer.enqueue_batch(rows, batch_id="b")).total == 700


@pytest.mark.parametrize("threaded", [False, True])
async def test_rows_come_in_their_order(producer: Producer, redis: ArqRedis, *, threaded: bool) -> None:
    rows = (request(str(n), custom_id=f"c{n}") for n in range(3000))
    batch = await producer.enqueue_batch(in_thread(rows) if threaded else rows, batch_id="b")
    assert batch.total == 3000
    await finish_some(redis, 1)
    for n in (1, 16, 17, 500, 501, 2999):
        payload = await redis.get(keys.PAYLOAD + f"b:{n + 1}")
        assert payload is not None
        assert f'"c{n}"'.encode() in payload


async def test_a_slow_source_with_other_rows_than_its_batch_adds_none_of_those_that_the_batch_lacks(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "_PERIOD", 0.0)  # something is due behind every row
    monkeypatch.setattr(submission, "COMPARED_ROWS", 1)
    await producer.enqueue_batch([request(text) for text in "123"], batch_id="b")
    lacking = keys.PAYLOAD + keys.job_id("b", 1)
    await redis.delete(lacking)

    async def rows(texts: str) -> AsyncIterator[CompletionRequest]:
        for text in texts:
            yield request(text)

    with pytest.raises(BatchDiffers):
        await producer.enqueue_batch(rows("1x3"), batch_id="b")
    assert not await redis.exists(lacking)
