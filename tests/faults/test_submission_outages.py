"""A submission outlasts what passes: a Redis that is away, and one that answers and takes no writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis as sync_redis

from faultserver.redis_process import RedisProcess
from helpers.requests import requests
from helpers.waiting import eventually
from windfall import BrokerUnavailable, CompletionRequest, Producer

ROWS = 200

#: What makes a Redis refuse every write, and what ends it.
REFUSALS = {
    "READONLY": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    "NOREPLICAS": (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")),
}


@pytest.fixture
def server() -> Iterator[RedisProcess]:
    with RedisProcess() as process:
        yield process


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windfall.queue.submission.CHUNK_ROWS", 10)


def ask(server: RedisProcess, *command: str) -> Any:
    with sync_redis.Redis(port=server.port) as client:
        return client.execute_command(*command)


def _failed_scripts(server: RedisProcess) -> int:
    with sync_redis.Redis(port=server.port) as client:
        failed: int = client.info("commandstats")["cmdstat_evalsha"]["failed_calls"]
        return failed


async def _more_failed(server: RedisProcess, before: int) -> bool:
    return _failed_scripts(server) > before


@asynccontextmanager
async def refusing_writes(server: RedisProcess, kind: str) -> AsyncIterator[asyncio.Event]:
    """Writes are refused from when the event is set until one was; then they are taken again."""
    began = asyncio.Event()

    async def refuse() -> None:
        await began.wait()
        before = _failed_scripts(server)
        await eventually(lambda: _more_failed(server, before), "a write being refused")
        ask(server, *REFUSALS[kind][1])

    ending = asyncio.create_task(refuse())
    yield began
    await ending


async def rows_with_a_fault(server: RedisProcess, kind: str, began: asyncio.Event) -> AsyncIterator[CompletionRequest]:
    for n, row in enumerate(requests(ROWS)):
        if n == ROWS // 2 and not began.is_set():
            ask(server, *REFUSALS[kind][0])
            began.set()
        yield row


@pytest.mark.parametrize("kind", REFUSALS)
async def test_writes_that_are_refused_for_a_while_are_a_delay(server: RedisProcess, kind: str) -> None:
    async with Producer(server.url) as producer, refusing_writes(server, kind) as began:
        batch = await producer.enqueue_batch(rows_with_a_fault(server, kind, began), batch_id="b")
        assert began.is_set()
        assert batch.total == ROWS


@pytest.mark.parametrize("kind", REFUSALS)
async def test_writes_that_stay_refused_end_it_with_the_reason(
    server: RedisProcess, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windfall.queue.patience.PATIENCE", 0.5)
    async with Producer(server.url) as producer:
        ask(server, *REFUSALS[kind][0])
        with pytest.raises(BrokerUnavailable, match="replica"):
            await producer.enqueue_batch(requests(ROWS), batch_id="b")


async def test_an_outage_while_the_clock_is_read_is_a_delay(
    server: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windfall.broker.clock._FRESH", -1.0)  # it is read for every row

    async def rows() -> AsyncIterator[CompletionRequest]:
        for n, row in enumerate(requests(ROWS)):
            if n == ROWS // 2:
                server.kill()
                asyncio.get_running_loop().call_later(1, lambda: asyncio.create_task(asyncio.to_thread(server.start)))
            yield row

    async with Producer(server.url) as producer:
        batch = await producer.enqueue_batch(rows(), batch_id="b")
        assert batch.total == ROWS


@pytest.mark.parametrize("kind", REFUSALS)
async def test_who_reads_is_not_held_up_by_a_sweep_that_cannot_write(server: RedisProcess, kind: str) -> None:
    async with Producer(server.url) as producer:
        await producer.enqueue_batch(requests(3), batch_id="b", deadline=0.001)
        ask(server, *REFUSALS[kind][0])
    async with Producer(server.url) as reader:
        assert (await reader.batch("b")).total == 3
