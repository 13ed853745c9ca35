"""The rate limiter on a real Redis: several limiters of one name and key stand for several workers."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest
from arq import ArqRedis

from helpers.fake_clock import FakeClock
from windfall import keys
from windfall.errors import RateLimited
from windfall_worker.guards.breaker import RedisLink
from windfall_worker.guards.cooldown import Cooldown, end_cooldown
from windfall_worker.guards.limits import Admission, Need, Rates, Told
from windfall_worker.guards.rate_limit import RateLimiter, key_digest

KEY = "sk-very-private"


class Sleeps:
    """Time that only goes by when someone sleeps; Redis is made to believe it."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis: Any = redis
        self.clock = FakeClock()
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.pass_by(seconds)

    async def pass_by(self, seconds: float) -> None:
        """All that the limiters remember happened so much earlier."""
        self.clock.advance(seconds)
        ms = 1000 * seconds
        for key in await self._redis.keys(f"{keys.RATE}*"):
            state = {name.decode(): value.decode() for name, value in (await self._redis.hgetall(key)).items()}
            for field in {"at", "block", "since"} & state.keys():
                await self._redis.hset(key, field, float(state[field]) - ms)
            for name in {"r", "t", "i", "o", "R", "T", "a"} & state.keys():
                parts = state[name].split()
                parts[3] = str(max(0.0, float(parts[3]) - ms) if float(parts[3]) else 0)
                await self._redis.hset(key, name, " ".join(parts))
        for key in await self._redis.keys(f"{keys.COOLDOWN}*"):
            left = await self._redis.pttl(key)
            await self._redis.pexpire(key, max(1, round(left - ms)))


@pytest.fixture
def sleeps(redis: ArqRedis) -> Sleeps:
    return Sleeps(redis)


def limiter(redis: ArqRedis | None, sleeps: Sleeps, *, key: str = KEY, rates: Rates | None = None) -> RateLimiter:
    link = RedisLink(redis) if redis else None
    cooldown = Cooldown("endpoint", link, clock=sleeps.clock)
    return RateLimiter(
        "endpoint", link, cooldown, digest=key_digest(key), rates=rates or Rates(), clock=sleeps.clock, sleep=sleeps
    )


async def admitted(limiter: RateLimiter, calls: int, need: Need | None = None) -> int:
    """How many of so many calls go without waiting."""
    went = 0
    for _ in range(calls):
        before = len(cast(Sleeps, limiter._sleep).slept)
        try:
            await limiter.admit(need or Need(), patience=0)
        except RateLimited:
            continue
        went += len(cast(Sleeps, limiter._sleep).slept) == before
    return went


def window(remaining: float, limit: float = 50, reset: float = 30.0) -> list[Told]:
    return [Told("r", limit, remaining, reset)]


async def test_what_one_worker_is_told_holds_for_all(redis: ArqRedis, sleeps: Sleeps) -> None:
    one, other = limiter(redis, sleeps), limiter(redis, sleeps)
    one.went_well(await one.admit(patience=0), window(remaining=7))
    await one.admit(patience=0)
    assert 3 <= await admitted(other, 20) <= 6
    with pytest.raises(RateLimited) as caught:
        await other.admit(patience=5)
    assert 20 < (caught.value.retry_after or 0) <= 30
    await sleeps.pass_by(30)
    assert 40 <= await admitted(other, 100) <= 50  # the window has begun anew


async def test_another_key_has_limits_of_its_own(redis: ArqRedis, sleeps: Sleeps) -> None:
    one, other = limiter(redis, sleeps), limiter(redis, sleeps, key="sk-another")
    await one.refused(await one.admit(patience=0), window(remaining=0), 60)
    assert await admitted(one, 5) == 0
    assert await admitted(other, 5) == 5


async def test_no_key_is_kept(redis: ArqRedis, sleeps: Sleeps) -> None:
    await limiter(redis, sleeps).admit(patience=0)
    (name,) = await redis.keys(f"{keys.RATE}*")
    assert KEY.encode() not in name
    assert key_digest(KEY) in name.decode()


async def test_a_late_answer_is_compared_with_what_was_known_then(redis: ArqRedis, sleeps: Sleeps) -> None:
    ours = limiter(redis, sleeps)
    ours.went_well(await ours.admit(patience=0), window(remaining=49))
    early = await ours.admit(patience=0)
    for _ in range(20):
        await ours.admit(patience=0)
    ours.went_well(early, window(remaining=48))  # as expected: 28 are left, not 48
    assert 24 <= await admitted(ours, 100) <= 28


async def test_what_others_use_of_the_key_is_noticed(redis: ArqRedis, sleeps: Sleeps) -> None:
    ours = limiter(redis, sleeps)
    ours.went_well(await ours.admit(patience=0), window(remaining=49))
    ours.went_well(await ours.admit(patience=0), window(remaining=10))
    assert await admitted(ours, 100) <= 10


async def test_a_refusal_stops_the_fleet_for_as_long_as_it_says(redis: ArqRedis, sleeps: Sleeps) -> None:
    one, other = limiter(redis, sleeps), limiter(redis, sleeps)
    await one.refused(await one.admit(patience=0), [], 40)
    with pytest.raises(RateLimited) as caught:
        await other.admit(patience=30)
    assert 39 < (caught.value.retry_after or 0) <= 40
    await other.admit(patience=45)
    assert 39 < sum(sleeps.slept) <= 42


async def test_a_cool_down_that_is_ended_by_hand_is_over(redis: ArqRedis, sleeps: Sleeps) -> None:
    ours = limiter(redis, sleeps)
    await ours.refused(await ours.admit(patience=0), window(remaining=20), 40)
    assert await admitted(ours, 1) == 0
    assert await end_cooldown(redis, "endpoint")
    await ours.admit(patience=2)


async def test_settings_limit_the_whole_fleet(redis: ArqRedis, sleeps: Sleeps) -> None:
    workers = [limiter(redis, sleeps, rates=Rates(rpm=120)) for _ in range(3)]
    went, began, real = 0, sleeps.clock(), time.monotonic()
    while sleeps.clock() < began + 60:
        await workers[went % 3].admit(patience=60)
        went += 1
    assert 108 <= went <= 122 + 2 * (time.monotonic() - real)  # time also goes by really


async def test_a_call_of_many_tokens_waits_for_them_and_those_behind_it_too(redis: ArqRedis, sleeps: Sleeps) -> None:
    ours = limiter(redis, sleeps, rates=Rates(tpm=60_000))
    await ours.admit(Need(5000, 5000), patience=0)  # more than there ever is at once: it leaves a debt
    await ours.admit(Need(10, 10), patience=60)
    assert 8 < sum(sleeps.slept) < 11


async def test_what_a_call_took_counts_in_place_of_its_estimate(redis: ArqRedis, sleeps: Sleeps) -> None:
    ours = limiter(redis, sleeps, rates=Rates(tpm=60_000))
    need = Need(500, 400)
    await ours.admit(need, patience=0)
    ours.used(need, 10, 5)
    await ours.admit(need, patience=0)
    assert sleeps.slept == []


async def test_what_was_reserved_and_not_sent_is_given_back(redis: ArqRedis, sleeps: Sleeps) -> None:
    ours = limiter(redis, sleeps)
    ours.went_well(await ours.admit(patience=0), window(remaining=10))
    for _ in range(30):
        ours.give_back(await ours.admit(patience=0))
    assert sleeps.slept == []


async def test_refusals_that_nothing_explains_lower_the_rate_once_a_wave(redis: ArqRedis, sleeps: Sleeps) -> None:
    ours = limiter(redis, sleeps)
    wave = [await ours.admit(patience=0) for _ in range(8)]
    for admission in wave:
        await ours.refused(admission, [], None)
    (name,) = await redis.keys(f"{keys.RATE}*")
    state = await cast(Any, redis).hgetall(name)
    assert float(state[b"epoch"]) == 1
    assert float(state[b"low"]) == pytest.approx(float(state[b"max"]) / 2)


async def test_a_window_that_is_used_up_does_not_lower_the_rate_further(redis: ArqRedis, sleeps: Sleeps) -> None:
    ours = limiter(redis, sleeps)
    for _ in range(5):
        await ours.refused(await ours.admit(patience=60), [], None)
    (name,) = await redis.keys(f"{keys.RATE}*")
    assert float((await cast(Any, redis).hgetall(name))[b"epoch"]) == 1
    assert sum(sleeps.slept) >= 1 + 2 + 4 + 8 - 1  # the pauses grow


async def test_without_redis_a_process_slows_down_by_itself(sleeps: Sleeps) -> None:
    ours = limiter(None, sleeps)
    assert await admitted(ours, 50) == 50
    await ours.refused(Admission(), [], 10)
    with pytest.raises(RateLimited):
        await ours.admit(patience=5)
    await ours.admit(patience=15)
    assert 9 <= sum(sleeps.slept) <= 11
