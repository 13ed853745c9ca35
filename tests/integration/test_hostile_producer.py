"""Whatever a producer writes under the documented rights, others submit, run and look on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from arq import ArqRedis
from redis.exceptions import NoPermissionError

from acceptance.commands import Shell, named_rows
from helpers.mischief import (
    TYPES,
    Command,
    do,
    foreign_types,
    listed,
    of_own,
    scripts_called,
    shared,
    strange_jobs,
    strange_names,
    strange_values,
)
from helpers.requests import request, requests
from helpers.waiting import eventually
from helpers.workers import simulated, worker
from windfall import BatchStatus, Producer, keys
from windfall.broker.connection import connect, disconnect
from windfall.errors import IdTaken, InvalidRequest, ScriptsMissing
from windfall.queue.quarantine import newest
from windfall.scripts import Script, run

ROWS = 12

#: What is done beside rows of another producer that wait and run.
ATTACKS: dict[str, list[Command]] = {
    **{f"own keys hold a {kind}": foreign_types(kind, of_own()) + listed() for kind in TYPES},
    "strange names": strange_names(),
    "strange values": strange_values() + listed(),
    "strange jobs": strange_jobs(),
    "scripts are called": [*strange_values(), *scripts_called(600)],
}


@pytest.fixture
async def hostile(users: dict[str, str]) -> AsyncIterator[ArqRedis]:
    """A connection of the documented producer."""
    pool = await connect(users["producer"])
    yield pool
    await disconnect(pool)


async def ended(producer: Producer, batch_id: str) -> BatchStatus:
    async def look() -> BatchStatus | None:
        status = await producer.batch(batch_id)
        return status if status.done else None

    found: BatchStatus = await eventually(look, f"the end of {batch_id}")
    return found


async def everything_is_looked_at(producer: Producer) -> None:
    """What the commands of a producer ask for."""
    fleet = await producer.fleet()
    assert fleet.serves("m")
    _ = [batch.model_dump_json() for batch in await producer.batches()]
    _ = [letter.model_dump_json() async for letter in producer.dead_letters()]
    await producer.info()


async def runs_through(producer: Producer, batch_id: str) -> None:
    """A new batch is submitted, completed and read."""
    await producer.enqueue_batch(requests(ROWS), batch_id=batch_id)
    assert (await ended(producer, batch_id)).completed == ROWS
    assert len([result async for result in producer.results(batch_id) if result.ok]) == ROWS
    assert (await producer.failures(batch_id))[1] == {}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_rows_of_another_producer_complete(attack: str, users: dict[str, str], hostile: ArqRedis) -> None:
    async with Producer(users["producer"]) as producer, worker(simulated(latency=0.05, slots=2), users["worker"]):
        await producer.enqueue_batch(requests(ROWS), batch_id="other")
        await do(hostile, ATTACKS[attack])
        assert (await ended(producer, "other")).completed == ROWS
        assert sorted([result.custom_id or "" async for result in producer.results("other")]) == sorted(
            f"c{n}" for n in range(1, ROWS + 1)
        )
        await do(hostile, ATTACKS[attack])
        await everything_is_looked_at(producer)
        await runs_through(producer, "later")
        assert (await producer.wait(await producer.enqueue(request()), timeout=60)).ok


@pytest.mark.parametrize("kind", TYPES)
async def test_foreign_types_under_shared_keys_are_put_aside(
    kind: str, users: dict[str, str], hostile: ArqRedis
) -> None:
    async with Producer(users["producer"]) as producer, worker(simulated(slots=2), users["worker"]):
        await do(hostile, foreign_types(kind, shared()))
        await everything_is_looked_at_when_the_worker_is_back(producer)
        await do(hostile, foreign_types(kind, shared()))
        await runs_through(producer, "later")
        assert await newest(producer.redis, 100)


async def everything_is_looked_at_when_the_worker_is_back(producer: Producer) -> None:
    """Where the list of workers was replaced, a worker is in it again with its next heartbeat."""

    async def look() -> bool:
        return (await producer.fleet()).serves("m")

    await eventually(look, "the worker")
    await everything_is_looked_at(producer)


async def test_what_is_put_aside_is_kept_in_bounds_and_told_of(users: dict[str, str], hostile: ArqRedis) -> None:
    await do(hostile, [("ZADD", keys.DEADLINES, 0, b"\xff%d" % n) for n in range(300)])
    async with Producer(users["producer"]) as producer, worker(simulated(), users["worker"]):

        async def all_gone() -> bool:
            client: Any = hostile
            return not await client.zcard(keys.DEADLINES)

        await eventually(all_gone, "names that nobody can read leave")
        found = await newest(producer.redis, 1000)
        assert len(found) == 100
        assert found[0].number == 300
        assert (found[0].where, found[0].what[:4]) == (keys.DEADLINES, "\\xff")


async def test_no_call_of_a_script_takes_long_and_no_batch_keeps_a_sweep(
    users: dict[str, str], hostile: ArqRedis
) -> None:
    endless = [("HSET", keys.BATCH + "endless", "created", 1, "rows", 10**15, "deleted", "-1e300")]
    listed = [("ZADD", keys.KEPT, "-inf", "endless"), ("SADD", keys.RESUMING, "endless")]
    async with Producer(users["producer"]) as producer, worker(simulated(), users["worker"]):
        await producer.enqueue_batch(requests(3), batch_id="short", keep=0.1)
        await do(hostile, [*endless, *listed])
        await run(hostile, Script.DELETE, [keys.BATCHES], ["endless", "any", 10**9])
        await run(hostile, Script.RESUME_BATCH, [], ["endless", 10**9, 1])

        async def short_is_gone() -> bool:
            client: Any = hostile
            return not await client.exists(keys.BATCH + "short")

        await eventually(short_is_gone, "the deletion of what is kept no longer")


async def test_a_producer_loads_no_scripts_and_says_who_does(
    redis: ArqRedis, users: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windfall.scripts.run.__kwdefaults__", {"patience": 0.3})
    await redis.script_flush()
    async with Producer(users["producer"]) as producer:
        with pytest.raises(ScriptsMissing, match="start a worker of this version, or run windfall doctor"):
            await producer.open_batch()
        with pytest.raises(NoPermissionError):
            await producer.redis.script_load("while true do end")


async def test_a_worker_gives_scripts_back_to_a_redis_that_forgot_them(redis: ArqRedis, users: dict[str, str]) -> None:
    async with Producer(users["producer"]) as producer, worker(simulated(), users["worker"]):
        for number in range(3):
            await redis.script_flush()
            await runs_through(producer, f"batch{number}")


async def test_a_job_of_another_program_is_not_counted_in_a_batch(redis: ArqRedis, users: dict[str, str]) -> None:
    async with Producer(users["producer"]) as producer, worker(simulated(latency=0.05), users["worker"]):
        await producer.enqueue_batch(requests(3), batch_id="order")
        await redis.enqueue_job("complete", request(), _job_id="order:99", _queue_name=keys.lane_queue("m", "auto"))
        assert (await producer.wait("order:99", timeout=60)).ok
        assert (await ended(producer, "order")).completed == 3
        await redis.enqueue_job("complete", request(), _job_id="next:2", _queue_name=keys.lane_queue("m", "auto"))
        with pytest.raises(IdTaken, match="submit again under another batch id"):
            await producer.enqueue_batch(requests(3), batch_id="next")
        assert (await ended(producer, "next")).total == 0
        assert (await producer.wait("next:2", timeout=60)).ok


@pytest.mark.parametrize("name", ["d:done:1", "a b", "x\n", "\x1b[31m", "\ud800", "x" * 129])
async def test_a_batch_id_that_would_be_another_key_is_refused_on_both_sides(name: str, redis: ArqRedis) -> None:
    async with Producer(redis) as producer:
        with pytest.raises(InvalidRequest, match="a batch id is 1 to 128 characters"):
            await producer.open_batch(batch_id=name)
        if len(name) < 100 and name.isprintable():
            with pytest.raises(Exception, match="a batch id is text without blanks and colons"):
                await run(redis, Script.OPEN_BATCH, [keys.BATCHES], [name, 0, "", "{}", 0, 0])


@pytest.mark.parametrize("model", ["m:held", "a\nb", "\x1b[31m"])
def test_a_model_whose_lane_would_be_another_key_is_refused(model: str) -> None:
    with pytest.raises(ValueError, match="must be without control characters, and not end in ':held'"):
        request(model=model)
    assert keys.lane_parts(f"windfall:lane:auto:{model}") is None


@pytest.mark.timeout(400)  # a dozen commands, each a process that takes seconds to start on a loaded machine
def test_every_command_works_beside_a_hostile_producer(users: dict[str, str], tmp_path: Path) -> None:
    shell = Shell(tmp_path, users["producer"])
    shell.write("in.jsonl", named_rows(ROWS))
    with shell.worker("--redis", users["worker"], "--simulate", "m=0"):
        first = shell("submit", "in.jsonl", "--model", "m").out.strip()
        assert shell("watch", first).code == 0
        _attack(users["producer"])
        for words in (("fleet",), ("fleet", "--json"), ("batches",), ("dead", "list"), ("status", first)):
            done = shell(*words)
            assert done.code == 0, (words, done)
        assert first in shell("status", first).out
        assert "were removed from the queue" in shell("doctor").out
        _attack(users["producer"])
        again = shell("submit", "in.jsonl", "--model", "m", "--batch-id", "again", "--wait", "-o", "out.jsonl")
        assert again.code == 0, again
        assert shell("watch", "again").code == 0
        assert len(shell.rows("out.jsonl")) == ROWS


def _attack(url: str) -> None:
    """Everything at once."""

    async def attack() -> None:
        pool = await connect(url)
        for commands in ATTACKS.values():
            await do(pool, commands)
        await disconnect(pool)

    asyncio.run(attack())
