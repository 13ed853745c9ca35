"""Redis dies, stalls, forgets or cuts its connections under a running batch: every row ends in exactly one result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from faults.invariants import Tally, command_rate, each_row_once, finished, through_outages, watched
from faultserver.redis_process import RedisProcess
from helpers.processes import program, workers_up
from helpers.requests import requests
from helpers.waiting import eventually
from windfall import BrokerUnavailable, NotFound, Producer

ROWS = 60

#: What ran at the fault (two workers with four slots), and what two more leases of each slot could cost.
MOST_WASTE = 8 + 16

Record = Callable[[str, object], None]


@pytest.fixture
def server() -> Iterator[RedisProcess]:
    with RedisProcess(fsync="everysec") as process:
        yield process


@contextmanager
def two_workers(url: str, tally: Tally, folder: Path) -> Iterator[None]:
    flags = ("--redis", url, "--simulate", 0.5, "--slots", 4, "--lease", 3, "--tally", tally.file)
    with program("worker", *flags, log=folder / "1.log"), program("worker", *flags, log=folder / "2.log"):
        yield


def logs(folder: Path) -> str:
    return "".join(file.read_text() for file in sorted(folder.glob("*.log")))


async def some_done(producer: Producer, batch_id: str, count: int = 8) -> None:
    async def enough() -> bool:
        return (await producer.batch(batch_id)).completed >= count

    await eventually(enough, f"{count} rows done")


@pytest.fixture
def tally(tmp_path: Path) -> Tally:
    return Tally(tmp_path)


@pytest.fixture
async def half_way(
    server: RedisProcess, tally: Tally, tmp_path: Path, record_property: Record
) -> AsyncIterator[Producer]:
    """Two workers in the middle of the batch `b`; afterwards it ends, and every row has its result."""
    async with Producer(server.url) as producer:
        await producer.enqueue_batch(requests(ROWS), batch_id="b")
        with two_workers(server.url, tally, tmp_path):
            async with watched(server.url, "b"):
                await workers_up(producer, 2)
                await some_done(producer, "b")
                yield producer
                await finished(server.url, "b")
    results = await each_row_once(server.url, "b", ROWS)
    assert all(result.ok for result in results)
    assert "Traceback" not in logs(tmp_path)
    record_property("waste", tally.waste(ROWS))
    assert tally.waste(ROWS) <= max(tally.forgotten, MOST_WASTE)


async def test_killed_with_9_and_back_from_its_append_only_file(half_way: Producer, server: RedisProcess) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(1)
    await asyncio.to_thread(server.start)


async def test_back_without_its_last_second(half_way: Producer, server: RedisProcess, tally: Tally) -> None:
    await asyncio.to_thread(server.remember)
    remembered = (await half_way.batch("b")).completed
    await some_done(half_way, "b", remembered + 6)
    await asyncio.to_thread(server.kill)
    tally.forgotten = tally.asked.total() - remembered
    server.go_back()
    await asyncio.to_thread(server.start)


async def all_running(producer: Producer, batch_id: str, count: int) -> None:
    async def enough() -> bool:
        return (await producer.batch(batch_id)).running == count

    await eventually(enough, f"{count} running rows")


async def test_a_claim_of_the_lost_second_is_taken_up_again_and_nothing_is_asked_for_twice(
    server: RedisProcess, tmp_path: Path
) -> None:
    tally = Tally(tmp_path)
    # More slots than rows: the worker has places free in which it claims its own jobs again, should it come first.
    flags = ("--redis", server.url, "--simulate", 4, "--slots", 20, "--lease", 3, "--tally", tally.file)
    async with Producer(server.url) as producer:
        await producer.enqueue_batch(requests(10), batch_id="b")
        await asyncio.to_thread(server.remember)
        with program("worker", *flags):
            await all_running(producer, "b", 10)
            await asyncio.to_thread(server.kill)
            server.go_back()
            await asyncio.to_thread(server.start)
            async with watched(server.url, "b"):
                await finished(server.url, "b")
    results = await each_row_once(server.url, "b", 10)
    assert [[attempt.outcome for attempt in result.attempts] for result in results] == [["completed"]] * 10
    assert tally.waste(10) == 0


async def test_after_an_outage_longer_than_a_lease_every_owner_comes_back_first(
    server: RedisProcess, tmp_path: Path
) -> None:
    tally = Tally(tmp_path)
    flags = ("--redis", server.url, "--simulate", 9, "--slots", 20, "--lease", 2, "--tally", tally.file)
    async with Producer(server.url) as producer:
        with program("worker", *flags):
            await workers_up(producer, 1)
            await producer.enqueue_batch(requests(10), batch_id="b")
            await all_running(producer, "b", 10)
            with program("worker", *flags) as other:
                await workers_up(producer, 2)
                await asyncio.to_thread(server.kill)
                await asyncio.sleep(4)
                await asyncio.to_thread(server.start)
                await finished(server.url, "b")
                assert other.poll() is None
    results = await each_row_once(server.url, "b", 10)
    assert [[attempt.outcome for attempt in result.attempts] for result in results] == [["completed"]] * 10
    assert tally.waste(10) == 0


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
async def test_every_connection_is_reset_again_and_again(half_way: Producer, server: RedisProcess, kind: str) -> None:
    client: Any = half_way.redis
    for _ in range(10):
        await through_outages(server.url, lambda _: client.execute_command("CLIENT", "KILL", "TYPE", kind))
        await asyncio.sleep(0.2)


async def test_a_stall_of_five_seconds(half_way: Producer, server: RedisProcess) -> None:
    server.freeze()
    await asyncio.sleep(5)
    server.thaw()


async def test_a_redis_that_comes_back_empty_is_told_of_by_workers_and_producers(
    server: RedisProcess, tmp_path: Path
) -> None:
    tally = Tally(tmp_path)
    async with Producer(server.url) as producer:
        await producer.enqueue_batch(requests(ROWS), batch_id="b")
        with two_workers(server.url, tally, tmp_path):
            await workers_up(producer, 2)
            await some_done(producer, "b")
            waiting = asyncio.create_task(through_outages(server.url, lambda p: p.wait(f"b:{ROWS}")))
            following = asyncio.create_task(through_outages(server.url, _read_all))
            await asyncio.to_thread(server.kill)
            server.forget()
            await asyncio.to_thread(server.start)
            for task in (waiting, following):
                with pytest.raises(NotFound, match=r"not found, or (its result has )?expired"):
                    await asyncio.wait_for(task, 60)

            async def told() -> bool:
                return "that Redis does not know" in logs(tmp_path)

            await eventually(told, "a worker that says what happened")
            await _idle(producer)
            again = await through_outages(server.url, lambda p: p.enqueue_batch(requests(ROWS), batch_id="b"))
            await finished(server.url, again.id)
    await each_row_once(server.url, "b", ROWS)
    log = logs(tmp_path)
    assert "Traceback" not in log
    # Two workers, and a renewal that was under way when Redis went may tell of some before the next tells of the rest.
    assert log.count("that Redis does not know") <= 4
    assert len(log.splitlines()) < 100


async def test_a_submission_under_way_when_redis_comes_back_empty_is_told_so_and_leaves_nothing(
    server: RedisProcess, tmp_path: Path
) -> None:
    log = tmp_path / "producer.log"
    async with Producer(server.url) as producer:
        with program("submitter", "--redis", server.url, "--rows", 20_000, "--chunk", 2, log=log) as submitter:

            async def some() -> bool:
                try:
                    return (await producer.batch("b")).total > 100
                except NotFound:
                    return False

            await eventually(some, "rows submitted")
            await asyncio.to_thread(server.kill)
            server.forget()
            await asyncio.to_thread(server.start)
            assert await asyncio.to_thread(submitter.wait, 60) != 0
        assert "batch b no longer exists" in log.read_text()
        assert await producer.redis.keys("*b:*") == []


async def _read_all(producer: Producer) -> list[Any]:
    return [result async for result in producer.results("b")]


async def _idle(producer: Producer) -> None:
    """Workers without jobs ask Redis now and then, not all the time."""

    async def quiet() -> bool:
        return await command_rate(producer.redis) < 100

    await eventually(quiet, "workers that do not spin")


async def test_who_reads_while_redis_is_away_is_told_so(server: RedisProcess) -> None:
    async with Producer(server.url) as producer:
        name = (await producer.enqueue_batch(requests(1))).id
        server.kill()
        with pytest.raises(BrokerUnavailable, match="cannot be reached"):
            await producer.batch(name)
