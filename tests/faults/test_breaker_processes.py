"""The breaker when processes die: eight real workers, a prober killed with -9, a Redis that goes and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from redis.asyncio import Redis

from faultserver import FaultServer
from faultserver.redis_process import RedisProcess
from helpers.waiting import until
from windfall.errors import BackendUnavailable
from windfall_worker.guards.breaker import Breaker, CircuitOpen, RedisLink

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


def times(server: FaultServer, model: str) -> list[float]:
    return [request["at"] for request in server.seen(model)]


@pytest.mark.parametrize("retries", [0, 3], ids=["without retries", "with transport retries"])
def test_eight_processes_send_exactly_one_probe_per_reset_window(
    redis_url: str, fault_server: FaultServer, model: str, retries: int
) -> None:
    reset = 0.6
    fault_server.plan(model, then={"status": 500})
    with processes(8, "caller", redis_url, fault_server.url, model, reset, retries) as callers:
        assert [caller.stdout.readline() for caller in callers if caller.stdout] == ["ready\n"] * 8
        until(lambda: fault_server.hits(model) >= 5, "calls")
        time.sleep(reset * 0.9)  # every call that was under way when it opened has ended
        before = fault_server.hits(model)
        started = time.time()
        until(lambda: fault_server.hits(model) >= before + 5, "calls")
        probes = times(fault_server, model)[before:]
        gaps = [late - early for early, late in pairwise(probes)]
        assert all(gap >= reset * 0.95 for gap in gaps), gaps  # never two in a window
        assert probes[4] - started < 5 * reset + 5  # and never none for long

        fault_server.plan(model)  # all is well again: the next probe closes it, and all go on
        until(lambda: fault_server.hits(model) >= 50, "calls")


def test_a_prober_that_is_killed_gives_way_when_its_lease_ends(redis_url: str) -> None:
    async def scenario() -> None:
        async with Redis.from_url(redis_url) as redis:
            ours = Breaker("killed", redis, fail_max=1, reset_timeout=0.2, probe_lease=0.6)
            with pytest.raises(BackendUnavailable):
                async with ours.guard():
                    raise BackendUnavailable("down")
            with processes(1, "prober", redis_url, "killed", 0.2, 0.6) as (prober,):
                assert prober.stdout
                assert (await asyncio.to_thread(prober.stdout.readline)) == "probing\n"
                for _ in range(10):  # longer than the lease: it is renewed
                    with pytest.raises(CircuitOpen):
                        async with ours.guard():
                            pass
                    await asyncio.sleep(0.1)
                prober.send_signal(signal.SIGKILL)
                killed = time.monotonic()
                async with asyncio.timeout(5):
                    while (await ours.status()).state != "closed":
                        try:
                            async with ours.guard():
                                assert time.monotonic() - killed <= 0.6 + 1.0
                        except CircuitOpen:
                            await asyncio.sleep(0.01)

    asyncio.run(scenario())


@pytest.fixture
def own_redis() -> Iterator[RedisProcess]:
    with RedisProcess() as server:
        yield server


@pytest.fixture
async def link(own_redis: RedisProcess) -> AsyncIterator[RedisLink]:
    async with Redis.from_url(own_redis.url) as redis:
        yield RedisLink(redis, patience=0.3, pause=0.1)


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


async def seconds_of(breaker: Breaker) -> float:
    start = time.monotonic()
    await outcome(breaker, good=True)
    return time.monotonic() - start


async def test_an_open_breaker_stays_open_while_redis_is_away_and_after_it_is_back(
    own_redis: RedisProcess, link: RedisLink
) -> None:
    ours = Breaker("away", link, fail_max=2, reset_timeout=2.0)
    assert [await outcome(ours, good=False) for _ in range(3)] == ["failed", "failed", "refused"]
    opened = time.monotonic()
    own_redis.kill()
    assert await outcome(ours, good=True) == "refused"
    assert link.down
    await asyncio.to_thread(own_redis.start)
    while link.down and time.monotonic() < opened + 1.9:
        assert await outcome(ours, good=True) == "refused"
        await asyncio.sleep(0.02)
    assert not link.down
    assert (await ours.status()).state == "open"  # as Redis remembers it
    other = Breaker("away", link, fail_max=2, reset_timeout=2.0)
    assert await outcome(other, good=True) == "refused"
    await asyncio.sleep(max(0.0, opened + 2.1 - time.monotonic()))
    assert await outcome(other, good=True) == "completed"
    assert (await ours.status()).state == "closed"


async def test_the_probe_of_a_breaker_whose_redis_stays_away_is_this_process_own(
    own_redis: RedisProcess, link: RedisLink
) -> None:
    ours = Breaker("own", link, fail_max=2, reset_timeout=0.4)
    assert [await outcome(ours, good=False) for _ in range(3)] == ["failed", "failed", "refused"]
    own_redis.kill()
    await asyncio.sleep(0.45)
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


async def test_without_redis_the_same_numbers_hold_in_the_process(own_redis: RedisProcess, link: RedisLink) -> None:
    ours = Breaker("numbers", link, fail_max=3, reset_timeout=0.3)
    assert await outcome(ours, good=True) == "completed"
    own_redis.kill()
    assert [await outcome(ours, good=False) for _ in range(4)] == ["failed", "failed", "failed", "refused"]
    await asyncio.sleep(0.35)
    assert await outcome(ours, good=True) == "completed"
    assert (await ours.status()).state == "closed"


async def test_a_redis_that_answers_nothing_is_waited_for_once(own_redis: RedisProcess, link: RedisLink) -> None:
    breakers = [Breaker(f"frozen-{n}", link) for n in range(20)]
    await asyncio.gather(*(outcome(breaker, good=True) for breaker in breakers))
    own_redis.freeze()
    try:
        start = time.monotonic()
        ends = await asyncio.gather(*(outcome(breaker, good=True) for breaker in breakers))
        assert ends == ["completed"] * 20
        assert 0.25 <= time.monotonic() - start < 2.0
        again = time.monotonic()
        assert await outcome(breakers[0], good=True) == "completed"
        assert time.monotonic() - again < 0.25  # it decides by itself meanwhile
        await asyncio.sleep(0.15)  # now somebody must look whether Redis is back: one of them, not all
        waited = await asyncio.gather(*(seconds_of(breaker) for breaker in breakers))
        assert sum(seconds >= 0.25 for seconds in waited) == 1
    finally:
        own_redis.thaw()
    async with asyncio.timeout(5):
        while link.down:
            await outcome(breakers[0], good=True)
            await asyncio.sleep(0.02)
