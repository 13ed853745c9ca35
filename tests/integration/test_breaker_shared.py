"""The breaker on a real Redis, with several breakers of one name standing for several workers."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest
from arq import ArqRedis

from helpers.guards import let_pass
from helpers.waiting import PATIENCE, eventually
from windfall.errors import BackendUnavailable, BrokerDenied, NotFound
from windfall.keys import BREAKER
from windfall_worker.guards.breaker import (
    Breaker,
    CircuitOpen,
    FailureRate,
    RedisLink,
    close_breaker,
    list_breakers,
    open_breaker,
)

RESET = 60.0


def breaker(redis: ArqRedis | RedisLink, **more: Any) -> Breaker:
    return Breaker("endpoint", redis, **({"fail_max": 3, "reset_timeout": RESET} | more))


async def fail(breaker: Breaker) -> None:
    with pytest.raises(BackendUnavailable, match="down"):
        async with breaker.guard():
            raise BackendUnavailable("down")


async def succeed(breaker: Breaker) -> None:
    async with breaker.guard():
        pass


async def trip(*breakers: Breaker) -> None:
    for n in range(3):
        await fail(breakers[n % len(breakers)])


async def reset(redis: ArqRedis) -> None:
    await let_pass(redis, "endpoint", RESET)


async def test_failures_of_different_workers_add_up(redis: ArqRedis) -> None:
    one, other, third = breaker(redis), breaker(redis), breaker(redis)
    await trip(one, other)
    with pytest.raises(CircuitOpen) as caught:
        await succeed(third)
    assert 0 < caught.value.retry_after <= RESET


async def test_a_success_of_any_worker_ends_the_streak(redis: ArqRedis) -> None:
    one, other = breaker(redis), breaker(redis)
    for _ in range(4):
        await fail(one)
        await fail(one)
        assert (await other.status()).failures == 2
        await succeed(other)
        assert (await one.status()).failures == 0
    assert (await one.status()).state == "closed"


async def every_other(workers: list[Breaker], calls: int) -> None:
    """So many calls, on the workers in turn, of which every other fails; the last one does."""
    for number in range(calls):
        worker = workers[number // 2 % len(workers)]
        await (fail if (calls - number) % 2 else succeed)(worker)


async def test_half_of_the_fleets_calls_failing_opens_it(redis: ArqRedis) -> None:
    workers = [breaker(redis) for _ in range(4)]
    await every_other(workers, 19)
    assert (await workers[0].status()).state == "closed"
    await every_other(workers, 2)
    assert (await workers[0].status()).state == "open"


async def test_successes_that_cost_no_round_trip_are_reported_with_the_next_failure(redis: ArqRedis) -> None:
    one, other = breaker(redis), breaker(redis)
    for _ in range(60):
        await succeed(one)
    for _ in range(10):
        await fail(other)
        await fail(one)
        await succeed(other)
    assert (await one.status()).state == "closed"  # 20 of 90


async def test_calls_older_than_the_window_do_not_count(redis: ArqRedis) -> None:
    window = 400.0
    guarded = breaker(redis, rate=FailureRate(0.5, window, min_calls=6))
    await every_other([guarded], 5)
    await let_pass(redis, "endpoint", window, window=window)
    await every_other([guarded], 5)
    assert (await guarded.status()).state == "closed"
    await every_other([guarded], 2)
    assert (await guarded.status()).state == "open"


async def test_all_failing_opens_within_ten_calls_however_busy_it_was(redis: ArqRedis) -> None:
    workers = [Breaker("endpoint", redis) for _ in range(4)]
    for number in range(400):
        await succeed(workers[number % 4])
    failed = 0
    while (await workers[0].status()).state == "closed":
        await fail(workers[failed % 4])
        failed += 1
    assert failed <= 10


async def test_calls_that_end_together_are_not_a_streak_of_failures(redis: ArqRedis) -> None:
    workers = [Breaker("endpoint", redis) for _ in range(4)]
    down = BackendUnavailable("down")
    guards = [workers[n % 4].guard() for n in range(128)]
    for guard in guards:  # one after the other, so that each worker's calls end in this order
        await guard.__aenter__()
    ends = [(None, None, None) if n % 16 < 12 else (type(down), down, None) for n in range(128)]
    calls = (guard.__aexit__(*end) for guard, end in zip(guards, ends, strict=True))
    await asyncio.gather(*calls, return_exceptions=True)
    assert (await workers[0].status()).state == "closed"  # a quarter failed


async def test_a_late_success_of_an_earlier_epoch_ends_no_streak(redis: ArqRedis) -> None:
    slow, quick = breaker(redis), breaker(redis)
    guard = slow.guard()
    await guard.__aenter__()
    await trip(quick)
    await reset(redis)
    await succeed(quick)
    await fail(quick)
    assert (await slow.status()).failures == 1  # it knows of the streak
    await guard.__aexit__(None, None, None)
    assert (await quick.status()).failures == 1


async def test_of_the_calls_of_all_workers_exactly_one_is_the_probe(redis: ArqRedis) -> None:
    workers = [breaker(redis) for _ in range(5)]
    await trip(*workers)
    await reset(redis)
    entered = 0
    go = asyncio.Event()

    async def call(worker: Breaker) -> None:
        nonlocal entered
        async with worker.guard():
            entered += 1
            await go.wait()

    calls = [asyncio.create_task(call(worker)) for worker in workers * 10]
    waiting = set(calls)
    while len(waiting) > 1:
        done, waiting = await asyncio.wait(waiting, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert done, f"{len(waiting)} calls went through at once"
    go.set()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert entered == 1
    assert sum(isinstance(end, CircuitOpen) for end in ends) == 49
    assert [(await worker.status()).state for worker in workers] == ["closed"] * 5


async def test_a_probe_that_takes_longer_than_its_lease_stays_the_only_one(redis: ArqRedis) -> None:
    prober, other = breaker(redis, probe_lease=60), breaker(redis, probe_lease=60)
    prober.numbers = replace(prober.numbers, probe_lease=0.03)  # how often it renews; the lease stays what it was
    await trip(prober)
    await reset(redis)

    async def lease_until() -> int:
        return int(await cast(Any, redis).hget(BREAKER + "endpoint", "lease_until"))

    async with prober.guard():
        for _ in range(5):
            before = await lease_until()
            await let_pass(redis, "endpoint", 50)

            async def renewed(before: int = before) -> bool:
                return await lease_until() >= before

            await eventually(renewed, "a renewal of the lease")
            with pytest.raises(CircuitOpen):
                await succeed(other)
    await succeed(other)


async def test_a_cancelled_probe_is_given_back_to_the_fleet(redis: ArqRedis) -> None:
    prober, other = breaker(redis), breaker(redis)
    await trip(prober)
    await reset(redis)
    inside = asyncio.Event()

    async def probe() -> None:
        async with prober.guard():
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(probe())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await succeed(other)  # it need not wait for the lease of 10 s
    assert (await other.status()).state == "closed"


async def test_a_call_cancelled_while_it_asks_is_cancelled_and_holds_no_probe(redis: ArqRedis) -> None:
    prober, other = (breaker(redis, reset_timeout=0.01, probe_lease=600) for _ in range(2))

    async def probe() -> None:
        async with prober.guard():
            await asyncio.sleep(60)

    for ticks in range(100):  # wherever in the asking it is
        if (await other.status()).state == "closed":
            await trip(other)
        task = asyncio.create_task(probe())
        for _ in range(ticks % 12):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=PATIENCE)
        assert done, "the cancellation was lost"
        assert task.cancelled() or isinstance(task.exception(), CircuitOpen)

    async def closed() -> bool:
        with suppress(CircuitOpen):
            await succeed(other)
        return (await other.status()).state == "closed"

    await eventually(closed, "a probe that was given back")


async def test_cancelled_calls_count_neither_way(redis: ArqRedis) -> None:
    guarded = breaker(redis)
    for _ in range(5):
        with pytest.raises(asyncio.CancelledError):
            async with guarded.guard():
                raise asyncio.CancelledError
    status = await guarded.status()
    assert (status.state, status.failures) == ("closed", 0)


async def test_a_late_failure_of_an_earlier_epoch_changes_nothing(redis: ArqRedis) -> None:
    slow, quick = breaker(redis, fail_max=1), breaker(redis, fail_max=1)
    inside, late = asyncio.Event(), asyncio.Event()

    async def call() -> None:
        async with slow.guard():
            inside.set()
            await late.wait()
            raise BackendUnavailable("late")

    task = asyncio.create_task(call())
    await inside.wait()
    await fail(quick)
    await reset(redis)
    await succeed(quick)
    late.set()
    with pytest.raises(BackendUnavailable):
        await task
    status = await quick.status()
    assert (status.state, status.failures) == ("closed", 0)


@pytest.mark.parametrize("late", [None, BackendUnavailable("late")], ids=["success", "failure"])
async def test_a_probe_that_lost_its_lease_decides_nothing(redis: ArqRedis, late: BackendUnavailable | None) -> None:
    lost, other = breaker(redis), breaker(redis)
    await trip(lost)
    await reset(redis)
    guard = lost.guard()
    await guard.__aenter__()
    await cast(Any, redis).hset(BREAKER + "endpoint", "lease_until", 0)  # as if it had been away too long
    async with other.guard():
        await guard.__aexit__(type(late) if late else None, late, None)
        assert (await other.status()).state == "half-open"
    assert (await other.status()).state == "closed"


async def test_a_person_can_list_open_and_close_breakers(redis: ArqRedis) -> None:
    guarded = breaker(redis)
    await fail(guarded)
    (listed,) = await list_breakers(redis)
    assert (listed.name, listed.state, listed.failures, listed.held) == ("endpoint", "closed", 1, False)

    await open_breaker(redis, "endpoint")
    await reset(redis)
    with pytest.raises(CircuitOpen) as caught:  # open until a person closes it, whatever the reset_timeout
        await succeed(guarded)
    assert caught.value.retry_after == pytest.approx(RESET)
    (listed,) = await list_breakers(redis)
    assert (listed.state, listed.held) == ("open", True)

    await close_breaker(redis, "endpoint")
    await succeed(guarded)

    await open_breaker(redis, "endpoint", seconds=20)
    with pytest.raises(CircuitOpen):
        await succeed(guarded)
    await let_pass(redis, "endpoint", 20)
    await succeed(guarded)


async def test_a_breaker_that_is_not_there_is_named_with_those_that_are(redis: ArqRedis) -> None:
    await succeed(breaker(redis))
    with pytest.raises(NotFound, match=r"'endpiont'.*endpoint"):
        await close_breaker(redis, "endpiont")


async def test_a_script_error_is_logged_as_a_bug_and_is_no_outage(
    redis: ArqRedis, caplog: pytest.LogCaptureFixture
) -> None:
    link = RedisLink(redis)
    guarded = breaker(link)
    await redis.set(BREAKER + "endpoint", "not a hash")
    with caplog.at_level(logging.ERROR):
        await succeed(guarded)  # the call itself goes on
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "bug" in record.getMessage()
    assert record.exc_info
    assert not link.down


async def test_scripts_that_redis_forgot_are_loaded_again_at_once(redis: ArqRedis) -> None:
    link = RedisLink(redis)
    guarded = breaker(link)
    await succeed(guarded)
    await redis.script_flush()
    await trip(guarded)
    assert not link.down
    await redis.script_flush()
    (listed,) = await list_breakers(redis)
    assert listed.state == "open"


async def test_a_user_who_may_not_load_scripts_does_without_and_is_told(
    redis: ArqRedis, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await redis.script_flush()
    client: Any = redis
    await client.execute_command("ACL", "SETUSER", "loads-none", "on", "nopass", "~*", "&*", "+@all", "-script")
    denied = ArqRedis.from_url(redis_url, username="loads-none", password="any")  # noqa: S106 - it takes any
    try:
        link = RedisLink(denied)
        with caplog.at_level(logging.ERROR):
            await succeed(breaker(link))
        assert "permission" in caplog.text
        assert not link.down
        with pytest.raises(BrokerDenied, match="worker's user"):
            await open_breaker(denied, "endpoint")
    finally:
        await denied.aclose()
        await client.execute_command("ACL", "DELUSER", "loads-none")


async def test_a_full_redis_is_an_outage_and_no_bug(redis: ArqRedis, caplog: pytest.LogCaptureFixture) -> None:
    link = RedisLink(redis)
    guarded = breaker(link)
    await redis.config_set("maxmemory", "1")
    try:
        with caplog.at_level(logging.ERROR):
            await trip(guarded)
            with pytest.raises(CircuitOpen):
                await succeed(guarded)
        assert link.down
        assert not caplog.records
    finally:
        await redis.config_set("maxmemory", "0")


async def test_a_closed_call_that_ends_well_is_one_round_trip(redis: ArqRedis) -> None:
    guarded = breaker(redis)
    await succeed(guarded)
    before = (await redis.info("stats"))["total_commands_processed"]
    scripts = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    for _ in range(10):
        await succeed(guarded)
    after = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert after - scripts == 10
    assert (await redis.info("stats"))["total_commands_processed"] > before
