"""What the fleet shares besides the breaker: cool-downs and the retry budget, on a real Redis."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

import pytest
from arq import ArqRedis

from faultserver import FaultServer
from helpers.waiting import eventually
from windfall import keys
from windfall.errors import RateLimited
from windfall_worker.cloud.openai import OpenAIClient
from windfall_worker.guards.breaker import RedisLink
from windfall_worker.guards.cooldown import LONGEST, UNNAMED, Cooldown, end_cooldown, list_cooldowns
from windfall_worker.guards.retry_budget import RetryBudget

HI = [{"role": "user", "content": "hi"}]


@pytest.fixture
def link(redis: ArqRedis) -> RedisLink:
    return RedisLink(redis)


async def test_one_workers_429_keeps_the_others_away(fault_server: FaultServer, model: str, redis: ArqRedis) -> None:
    one, other = (OpenAIClient(fault_server.url, "k", max_retries=0, redis=redis) for _ in range(2))
    async with one, other:
        fault_server.plan(model, {"status": 429, "headers": {"retry-after": "60"}})
        with pytest.raises(RateLimited):
            await one.chat_completion(HI, model, 5)
        for client in (one, other):
            with pytest.raises(RateLimited) as caught:
                await client.chat_completion(HI, model, 5)
            assert 0 < (caught.value.retry_after or 0) <= 60
        assert fault_server.hits(model) == 1
        assert list(await list_cooldowns(redis)) == [other.endpoint(model).name]
        await other.chat_completion(HI, f"{model}-another", 5)  # another model is another endpoint
        await redis.delete(keys.COOLDOWN + other.endpoint(model).name)  # as when its time is over

        async def goes() -> bool:
            with suppress(RateLimited):
                await other.chat_completion(HI, model, 5)
                return True
            return False

        await eventually(goes, "a call after the cool-down")


async def test_a_429_that_names_no_time_has_one(fault_server: FaultServer, model: str, redis: ArqRedis) -> None:
    async with OpenAIClient(fault_server.url, "k", max_retries=0, redis=redis) as client:
        fault_server.plan(model, then={"status": 429})
        with pytest.raises(RateLimited) as caught:
            await client.chat_completion(HI, model, 5)
        assert caught.value.retry_after == UNNAMED
        assert 0 < await client.endpoint(model).cooldown.left() <= UNNAMED


async def test_a_cool_down_is_only_made_longer(link: RedisLink) -> None:
    one, other = Cooldown("x", link, stale=0), Cooldown("x", link, stale=0)
    await one.start(1000)
    await other.start(1)
    assert 1 < await one.left() <= 1000
    await other.start(2000)
    assert 1000 < await one.left() <= 2000


async def test_a_cool_down_can_be_ended_by_hand(redis: ArqRedis, link: RedisLink) -> None:
    cooldown = Cooldown("x", link, stale=0)
    await cooldown.start(10)
    assert await end_cooldown(redis, "x")
    assert not await end_cooldown(redis, "x")
    assert await cooldown.left() == 0
    assert await list_cooldowns(redis) == {}


async def test_an_absurd_cool_down_is_cut(redis: ArqRedis, link: RedisLink) -> None:
    await Cooldown("x", link).start(1e12)
    assert (await list_cooldowns(redis))["x"] <= LONGEST


async def test_the_fleet_has_one_retry_budget(link: RedisLink) -> None:
    workers = [RetryBudget("x", link, per_second=0.001, seconds=10_000) for _ in range(4)]
    granted = [await worker.take() for worker in workers * 5]
    assert sum(granted) == 10
    for worker in workers:
        for _ in range(10):
            worker.count_call()
    assert sum([await worker.take() for worker in workers * 5]) == 8


async def test_the_budget_fills_with_time_and_never_above_its_most(link: RedisLink, redis: ArqRedis) -> None:
    budget = RetryBudget("x", link, per_second=0.001, seconds=10_000)
    assert sum([await budget.take() for _ in range(20)]) == 10
    for seconds, gained in ((5000, 5), (1_000_000, 10)):
        await cast(Any, redis).hincrbyfloat(keys.RETRIES + "x", "at", -seconds)  # so much earlier was the last time
        assert sum([await budget.take() for _ in range(20)]) == gained
