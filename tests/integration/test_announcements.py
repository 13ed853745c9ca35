"""Waiting for what scripts publish, through outages of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from faultserver.redis_process import RedisProcess
from support import eventually
from windfall.announcements import Announcements
from windfall.connection import OUTAGE, connect, disconnect


@pytest.fixture
def server() -> Iterator[RedisProcess]:
    with RedisProcess() as process:
        yield process


async def test_who_could_not_subscribe_does_not_keep_the_next_one_from_it(server: RedisProcess) -> None:
    redis = await connect(server.url)
    announcements = Announcements(redis)
    server.kill()
    await redis.connection_pool.disconnect()  # it would take a moment to notice by itself
    with pytest.raises(OUTAGE):
        async with announcements.listen("news"):
            pass
    server.start()
    async with announcements.listen("news") as announced:
        await redis.publish("news", "1")
        await asyncio.wait_for(announced.wait(), 10)
    await announcements.close()
    await disconnect(redis)


async def test_whoever_listens_is_woken_when_the_connection_comes_back(server: RedisProcess) -> None:
    redis = await connect(server.url)
    announcements = Announcements(redis)
    async with announcements.listen("news") as announced:
        announced.clear()
        server.kill()
        server.start()
        await asyncio.wait_for(announced.wait(), 10)

        async def told() -> bool:
            announced.clear()
            await redis.publish("news", "1")
            await asyncio.sleep(0.05)
            return announced.is_set()

        await eventually(told, what="the subscription being back")
    await announcements.close()
    await disconnect(redis)
