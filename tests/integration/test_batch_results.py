"""What comes out of a batch, and what may go in: results in order, limits, going on after a cut."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from arq import ArqRedis

from helpers.protocol import LANE, claim_client, finish, finish_some
from helpers.requests import request, requests
from windfall import (
    BatchFull,
    InvalidRequest,
    InvalidRow,
    JobState,
    Limits,
    NotFound,
    Producer,
)
from windfall.embedded.broker import free_port


async def test_results_in_input_order_come_as_the_rows_stand_whatever_ended_first(
    producer: Producer, redis: ArqRedis
) -> None:
    batch = await producer.enqueue_batch(requests(450))
    claims = (await claim_client(redis).claim([LANE], 450)).claims
    seen: list[str] = []

    async def follow() -> None:
        async for result in producer.results(batch.id, order="input"):
            seen.append(result.job_id)  # noqa: PERF401 - looked at while it grows

    following = asyncio.create_task(follow())
    for claim in reversed(claims[1:]):
        await finish(redis, claim)
    assert seen == []
    await finish(redis, claims[0])
    async with asyncio.timeout(60):
        await following
    assert seen == [f"{batch.id}:{n}" for n in range(1, 451)]


async def test_results_in_input_order_end_at_the_first_gap_and_go_on_behind_their_cursor(
    producer: Producer, redis: ArqRedis
) -> None:
    batch = await producer.enqueue_batch(requests(300))
    claims = (await claim_client(redis).claim([LANE], 300)).claims
    for claim in (*claims[:250], *claims[260:]):
        await finish(redis, claim)
    first = [pair async for pair in producer.results_with_cursor(batch.id, order="input", follow=False)]
    assert [cursor for cursor, _ in first] == [str(n) for n in range(1, 251)]
    for claim in claims[250:260]:
        await finish(redis, claim)
    rest = [result.job_id async for result in producer.results(batch.id, order="input", after=first[-1][0])]
    assert rest == [f"{batch.id}:{n}" for n in range(251, 301)]


class Cable:
    """Between a program and Redis: it can be pulled out and put back."""

    def __init__(self, redis_url: str) -> None:
        self._redis = int(redis_url.rpartition(":")[2])
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}"
        self._server: asyncio.Server | None = None
        self._ends: list[asyncio.StreamWriter] = []

    async def plug_in(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)

    async def pull_out(self) -> None:
        assert self._server
        self._server.close()
        while self._ends:
            self._ends.pop().close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_redis = await asyncio.open_connection("127.0.0.1", self._redis)
        self._ends += [writer, to_redis[1]]
        await asyncio.gather(_pump(reader, to_redis[1]), _pump(to_redis[0], writer), return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.mark.parametrize("order", ["completion", "input"])
async def test_a_download_goes_on_after_its_connection_was_cut_and_has_each_row_once(
    producer: Producer, redis: ArqRedis, redis_url: str, order: Any
) -> None:
    batch = await producer.enqueue_batch(requests(1000))
    await finish_some(redis, 1000)
    cable = Cable(redis_url)
    await cable.plug_in()
    seen, mending = [], []

    async def mend() -> None:
        await asyncio.sleep(2.5)  # longer than redis-py tries by itself
        await cable.plug_in()

    async with Producer(cable.url) as reader:
        async for result in reader.results(batch.id, order=order):
            seen.append(result.job_id)
            if len(seen) == 450:
                await cable.pull_out()
                mending.append(asyncio.create_task(mend()))
    await mending[0]
    await cable.pull_out()
    assert seen == [f"{batch.id}:{n}" for n in range(1, 1001)]


@pytest.mark.parametrize(("order", "cursor"), [("input", "1-0"), ("input", "x"), ("completion", "; FLUSHALL")])
async def test_a_cursor_of_another_order_is_refused(producer: Producer, order: Any, cursor: str) -> None:
    batch = await producer.enqueue_batch(requests(1))
    with pytest.raises(InvalidRequest, match="is not a cursor"):
        _ = [result async for result in producer.results(batch.id, order=order, after=cursor)]


async def test_failures_are_counted_by_kind_and_each_once(producer: Producer, redis: ArqRedis) -> None:
    bad = InvalidRow("bad", 1, InvalidRequest("wrong", line=1))
    batch = await producer.enqueue_batch([bad, bad, *requests(3)])
    cursor, kinds = await producer.failures(batch.id)
    assert kinds == {"invalid_request": 2}
    await finish_some(redis, 2)
    await finish_some(redis, 1, JobState.FAILED)
    _, more = await producer.failures(batch.id, after=cursor)
    assert more == {"unknown": 1}


# Limits, and going on.


async def test_a_row_larger_than_the_limit_is_a_failed_row_and_alone_it_is_refused(redis: ArqRedis) -> None:
    async with Producer(redis, limits=Limits(row_bytes=1000)) as producer:
        batch = await producer.enqueue_batch([request("small"), request("x" * 2000), request("small")])
        assert (batch.queued, batch.failed) == (2, 1)
        result = await producer.result(f"{batch.id}:2")
        assert result is not None
        assert result.error is not None
        assert "larger than 1,000 bytes (setting max_row_bytes)" in result.error.message
        with pytest.raises(InvalidRequest, match="larger than 1,000 bytes"):
            await producer.enqueue(request("x" * 2000))


async def test_a_batch_takes_no_more_rows_than_the_limit_and_those_that_are_in_run(redis: ArqRedis) -> None:
    async with Producer(redis, limits=Limits(batch_rows=10)) as producer:
        assert (await producer.enqueue_batch(requests(10))).total == 10
        with pytest.raises(BatchFull, match=r"has 10 rows.*max_batch_rows"):
            await producer.enqueue_batch(requests(11), batch_id="full")
        status = await producer.batch("full")
        assert (status.total, status.sealed) == (10, True)


async def test_metadata_larger_than_the_limit_is_refused_before_a_batch_is_made(redis: ArqRedis) -> None:
    async with Producer(redis, limits=Limits(metadata_bytes=100)) as producer:
        with pytest.raises(InvalidRequest, match="max_metadata_bytes"):
            await producer.enqueue_batch(requests(1), batch_id="b", metadata={"note": "x" * 200})
        with pytest.raises(NotFound):
            await producer.batch("b")


async def test_a_submission_that_was_cut_off_is_found_again_by_its_source_until_it_is_complete(
    producer: Producer,
) -> None:
    first = await producer.open_batch(source="file", deadline=60, keep=3600)
    again = await producer.open_batch(source="file", deadline=999)
    assert (again.id, again.deadline_at, again.keep) == (first.id, first.deadline_at, 3600)
    assert (await producer.open_batch(source="another")).id != first.id
    assert (await producer.open_batch(source="file", batch_id="named")).id == "named"
    done = await producer.enqueue_batch(requests(3), batch_id="named")
    assert done.sealed
    assert (await producer.open_batch(source="file")).id not in (first.id, "named")


async def test_a_cancelled_submission_is_not_gone_on_with(producer: Producer) -> None:
    first = await producer.open_batch(source="file")
    await producer.cancel(first.id)
    assert (await producer.open_batch(source="file")).id != first.id


async def test_a_negative_time_is_refused(producer: Producer) -> None:
    with pytest.raises(InvalidRequest, match="seconds"):
        await producer.open_batch(keep=-1.0)
    with pytest.raises(InvalidRequest, match="seconds"):
        await producer.open_batch(deadline=0.0)
