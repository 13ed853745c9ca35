"""Many who sweep at once end the rows of a large batch with one deadline, each once."""

from __future__ import annotations

import asyncio
from typing import Any

from arq import ArqRedis

from helpers.requests import requests
from helpers.waiting import eventually
from windfall import Producer, keys
from windfall.broker.clock import RedisClock
from windfall.queue.housekeeping import Housekeeping

ROWS = 1200


async def _overdue(redis: ArqRedis, producer: Producer) -> None:
    await producer.enqueue_batch(requests(ROWS), batch_id="b", deadline=3600)
    client: Any = redis
    waiting = await client.zrange(keys.DEADLINES, 0, -1)
    await client.zadd(keys.DEADLINES, dict.fromkeys(waiting, 1))


async def test_eight_sweepers_ask_about_once_a_row(redis: ArqRedis, redis_url: str) -> None:
    async with Producer(redis_url) as producer:
        await _overdue(redis, producer)
        await redis.config_resetstat()
        sweepers = [Housekeeping(redis, RedisClock(redis), 0) for _ in range(8)]
        await asyncio.gather(*(sweeper.sweep() for sweeper in sweepers))
        stats: Any = await redis.info("commandstats")
        assert (await producer.batch("b")).expired == ROWS
    asked = stats["cmdstat_evalsha"]
    # Of the first page Redis may not have had the script yet.
    assert asked["calls"] - asked["failed_calls"] <= 1.1 * ROWS
    assert await redis.exists(keys.EXPIRING) == 0


async def test_another_goes_on_where_a_sweeper_died(redis: ArqRedis, redis_url: str) -> None:
    async with Producer(redis_url) as producer:
        await _overdue(redis, producer)
        await redis.set(keys.EXPIRING, "one that died", px=300)

        async def all_ended() -> bool:
            await Housekeeping(redis, RedisClock(redis), 0).sweep()
            return (await producer.batch("b")).expired == ROWS

        await eventually(all_ended, "the rows ended by another")
