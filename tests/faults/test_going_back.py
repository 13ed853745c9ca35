"""Redis comes back without its last writes, under a clock that is behind: whoever reads results gets each row once.

No clock is moved: the ids of the entries that will be lost are set ahead of it, which is the same to their readers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from faults.invariants import through_outages
from faultserver.redis_process import RedisProcess
from helpers.protocol import LANE, claim_client, finish, finish_some
from helpers.requests import requests
from helpers.waiting import eventually
from windfall import JobState, Producer, keys

ROWS = 100
STREAM = keys.BATCH + "b" + keys.DONE_SUFFIX


@pytest.fixture
def server() -> Iterator[RedisProcess]:
    with RedisProcess() as process:
        yield process


@pytest.fixture
async def producer(server: RedisProcess) -> AsyncIterator[Producer]:
    async with Producer(server.url) as producer:
        await producer.enqueue_batch(requests(ROWS), batch_id="b")
        yield producer


async def ahead(producer: Producer) -> None:
    """From here on entries get ids of a minute from now."""
    client: Any = producer.redis
    await client.execute_command("XSETID", STREAM, f"{round(time.time() * 1000) + 60_000}-0")


async def back(server: RedisProcess, producer: Producer) -> None:
    """Redis as `remember` saw it."""
    await asyncio.to_thread(server.kill)
    server.go_back()
    await asyncio.to_thread(server.start)
    await through_outages(server.url, lambda _: producer.batch("b"))


def names(*rows: range) -> list[str]:
    return sorted(f"b:{n}" for part in rows for n in part)


@pytest.mark.parametrize("catches_up", [False, True])
async def test_who_follows_gets_each_row_once(server: RedisProcess, producer: Producer, *, catches_up: bool) -> None:
    seen: list[str] = []

    async def follow() -> None:
        async with Producer(server.url) as reader:
            async for result in reader.results("b"):
                seen.append(result.job_id)  # noqa: PERF401 - looked at while it grows

    async def have(count: int) -> None:
        async def enough() -> bool:
            return len(seen) >= count

        await eventually(enough, f"{count} rows read")

    await finish_some(producer.redis, 60)
    await asyncio.to_thread(server.remember)
    await ahead(producer)
    await finish_some(producer.redis, 20)
    following = asyncio.create_task(follow())
    await have(80)
    await back(server, producer)
    await finish_some(producer.redis, 25)
    if catches_up:
        await ahead(producer)
    await finish_some(producer.redis, 15)
    await asyncio.wait_for(following, 60)
    assert sorted(seen) == names(range(1, ROWS + 1))


async def test_a_failed_row_comes_once_too_and_again_when_it_was_run_again(
    server: RedisProcess, producer: Producer
) -> None:
    found = producer.results("b")
    await finish_some(producer.redis, 60)
    await asyncio.to_thread(server.remember)
    await ahead(producer)
    await finish_some(producer.redis, 20, JobState.FAILED)
    seen = [(await anext(found)).job_id for _ in range(80)]
    await back(server, producer)
    await finish_some(producer.redis, 20, JobState.FAILED)
    claims = (await claim_client(producer.redis).claim([LANE], 20)).claims
    for claim in claims[1:]:
        await finish(producer.redis, claim)
    seen += [(await anext(found)).job_id for _ in range(19)]
    assert sorted(seen) == sorted(set(names(range(1, ROWS + 1))) - {claims[0].job_id})

    assert await producer.retry("b:61") == 1
    (again,) = (await claim_client(producer.redis).claim([LANE], 1)).claims
    await finish(producer.redis, again)
    await finish(producer.redis, claims[0])
    assert [(result.job_id, result.ok) async for result in found] == [("b:61", True), (claims[0].job_id, True)]


async def test_a_cursor_that_redis_has_lost_is_as_none_and_no_row_is_passed_over(
    server: RedisProcess, producer: Producer
) -> None:
    await finish_some(producer.redis, 60)
    await asyncio.to_thread(server.remember)
    await ahead(producer)
    await finish_some(producer.redis, 20)
    cursor = [cursor async for cursor, _ in producer.results_with_cursor("b", follow=False)][-1]
    await back(server, producer)
    await finish_some(producer.redis, 40)
    again = [pair async for pair in producer.results_with_cursor("b", after=cursor)]
    assert sorted(result.job_id for _, result in again) == names(range(1, ROWS + 1))
    assert [pair async for pair in producer.results_with_cursor("b", after=again[-1][0])] == []


async def test_a_cursor_whose_row_was_run_again_is_gone_on_from(producer: Producer) -> None:
    await finish_some(producer.redis, 60)
    await finish_some(producer.redis, 1, JobState.FAILED)
    cursor = [cursor async for cursor, _ in producer.results_with_cursor("b", follow=False)][-1]
    assert await producer.retry("b") == 1
    await finish_some(producer.redis, 40)
    rest = [result.job_id async for result in producer.results("b", after=cursor)]
    assert sorted(rest) == names(range(61, ROWS + 1))
