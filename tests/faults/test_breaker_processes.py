"""The breaker when processes die: eight real workers, a prober killed with -9, a Redis that goes and comes back."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from arq import ArqRedis
from redis.asyncio import Redis

from faultserver import FaultServer
from faultserver.redis_process import RedisProcess
from helpers.fake_clock import FakeClock
from helpers.guards import let_pass
from helpers.waiting import eventually
from windfall.errors import BackendUnavailable
from windfall_worker.guards.breaker import Breaker, CircuitOpen, RedisLink, list_breakers

RESET = 60.0
#: Seconds for which a Redis that did not answer is not asked again.
PAUSE = 1.0
TESTS = Path(__file__).parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@contextmanager
def processes(count: int, program: str, *args: object) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-m", f"faultserver.{program}", *map(str, args)]
    started = [
        subprocess.Popen(command, cwd=TESTS, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
            if process.stdout:
                process.stdout.close()


def heard(process: subprocess.Popen[str], outcome: str) -> None:
    """Read what a process says up to this."""
    assert process.stdout
    while (line := process.stdout.readline().strip()) != outcome:
        assert line, "it has ended"


async def test_eight_processes_send_exactly_one_probe_per_reset_window(
    redis: ArqRedis, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    reset = 600.0
    fault_server.plan(model, then={"status": 500})
    args = (redis_url, fault_server.url, model, reset)
    with processes(4, "caller", *args, 0) as once, processes(4, "caller", *args, 3) as with_transport_retries:
        callers = once + with_transport_retries
        for caller in callers:  # who is refused has no call under way any more
            await asyncio.to_thread(heard, caller, "refused")
        (breaker,) = await list_breakers(redis)
        before = fault_server.hits(model)

        async def probed_and_open(hits: int) -> bool:
            (found,) = await list_breakers(redis)
            return fault_server.hits(model) > hits and found.state == "open" and found.retry_after > 0

        for _ in range(5):
            await let_pass(redis, breaker.name, reset)

            await eventually(partial(probed_and_open, before), "a probe and its end")
            before += 1
            assert fault_server.hits(model) == before  # none beside it, and none since

        fault_server.plan(model)  # all is well again: the next probe closes it, and all go on
        await let_pass(redis, breaker.name, reset)
        for caller in callers:
            await asyncio.to_thread(heard, caller, "completed")


async def test_a_prober_that_is_killed_gives_way_when_its_lease_ends(redis: ArqRedis, redis_url: str) -> None:
    reset, lease = 60.0, 600.0
    ours = Breaker("killed", redis, fail_max=1, reset_timeout=reset, probe_lease=lease)
    assert await outcome(ours, good=False) == "failed"
    with processes(1, "prober", redis_url, "killed", reset, lease) as (prober,):
        await let_pass(redis, "killed", reset)
        await asyncio.to_thread(heard, prober, "probing")
        assert await outcome(ours, good=True) == "refused"
        prober.kill()
        prober.wait()
        await let_pass(redis, "killed", lease - 60)
        assert await outcome(ours, good=True) == "refused"
        await let_pass(redis, "killed", 60)
        assert await outcome(ours, good=True) == "completed"
    assert (await ours.status()).state == "closed"


@pytest.fixture
def own_redis() -> Iterator[RedisProcess]:
    with RedisProcess() as server:
        yield server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def link(own_redis: RedisProcess, clock: FakeClock) -> AsyncIterator[RedisLink]:
    async with Redis.from_url(own_redis.url) as redis:
        yield RedisLink(redis, patience=0.3, pause=PAUSE, clock=clock)


async def outcome(breaker: Breaker, *, good: bool) -> str:
    try:
        async with breaker.guard():
            if not good:
                raise BackendUnavailable("down")  # noqa: TRY301 - ending the guarded block is what this is for
    except CircuitOpen:
        return "refused"
    except BackendUnavailable:
        return "failed"
    return "completed"


async def test_an_open_breaker_stays_open_while_redis_is_away_and_after_it_is_back(
    own_redis: RedisProcess, link: RedisLink, clock: FakeClock
) -> None:
    ours, other = (Breaker("away", link, fail_max=2, reset_timeout=RESET, clock=clock) for _ in range(2))
    assert [await outcome(ours, good=False) for _ in range(3)] == ["failed", "failed", "refused"]
    own_redis.kill()
    assert await outcome(ours, good=True) == "refused"
    assert link.down
    await asyncio.to_thread(own_redis.start)

    async def back() -> bool:
        clock.advance(PAUSE)
        assert await outcome(ours, good=True) == "refused"
        return not link.down

    await eventually(back, "Redis answering again")
    assert (await ours.status()).state == "open"  # as Redis remembers it
    assert await outcome(other, good=True) == "refused"
    async with Redis.from_url(own_redis.url) as redis:
        await let_pass(redis, "away", RESET)
    assert await outcome(other, good=True) == "completed"
    assert (await ours.status()).state == "closed"


async def test_the_probe_of_a_breaker_whose_redis_stays_away_is_this_process_own(
    own_redis: RedisProcess, link: RedisLink, clock: FakeClock
) -> None:
    ours = Breaker("own", link, fail_max=2, reset_timeout=RESET, clock=clock)
    assert [await outcome(ours, good=False) for _ in range(3)] == ["failed", "failed", "refused"]
    own_redis.kill()
    clock.advance(RESET)
    entered = asyncio.Event()
    go = asyncio.Event()

    async def probe() -> None:
        async with ours.guard():
            entered.set()
            await go.wait()

    task = asyncio.create_task(probe())
    await entered.wait()
    assert await outcome(ours, good=True) == "refused"
    go.set()
    await task
    assert await outcome(ours, good=True) == "completed"


async def test_without_redis_the_same_numbers_hold_in_the_process(
    own_redis: RedisProcess, link: RedisLink, clock: FakeClock
) -> None:
    ours = Breaker("numbers", link, fail_max=3, reset_timeout=RESET, clock=clock)
    assert await outcome(ours, good=True) == "completed"
    own_redis.kill()
    assert [await outcome(ours, good=False) for _ in range(4)] == ["failed", "failed", "failed", "refused"]
    clock.advance(RESET)
    assert await outcome(ours, good=True) == "completed"
    assert (await ours.status()).state == "closed"


async def test_a_redis_that_answers_nothing_is_waited_for_once(
    own_redis: RedisProcess, link: RedisLink, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    breakers = [Breaker(f"frozen-{n}", link) for n in range(20)]
    assert await all_outcomes(breakers) == ["completed"] * 20
    ask, asked = link._ask, 0

    async def counting(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        return await ask(*args)

    monkeypatch.setattr(link, "_ask", counting)
    own_redis.freeze()
    try:
        assert await all_outcomes(breakers) == ["completed"] * 20
        assert link.down
        asked = 0
        assert await all_outcomes(breakers) == ["completed"] * 20
        assert asked == 0  # each decides by itself meanwhile
        clock.advance(PAUSE)
        assert await all_outcomes(breakers) == ["completed"] * 20
        assert asked == 1  # one of them looks whether Redis is back, and the others do not wait with it
    finally:
        own_redis.thaw()

    async def back() -> bool:
        clock.advance(PAUSE)
        await outcome(breakers[0], good=True)
        return not link.down

    await eventually(back, "Redis answering again")


async def all_outcomes(breakers: list[Breaker]) -> list[str]:
    return list(await asyncio.gather(*(outcome(breaker, good=True) for breaker in breakers)))
