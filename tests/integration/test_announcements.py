"""Waiting for what scripts publish, through outages of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from faultserver.proxy import Proxy
from faultserver.redis_process import RedisProcess
from helpers.waiting import eventually
from windfall.broker.announcements import Announcements
from windfall.broker.connection import OUTAGE, connect, disconnect


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
        await asyncio.wait_for(announced.wait(), 60)
    await announcements.close()
    await disconnect(redis)


async def test_whoever_listens_is_woken_when_the_connection_comes_back(server: RedisProcess) -> None:
    redis = await connect(server.url)
    announcements = Announcements(redis)
    async with announcements.listen("news") as announced:
        announced.clear()
        server.kill()
        server.start()
        await asyncio.wait_for(announced.wait(), 60)

        async def told() -> bool:
            announced.clear()
            await redis.publish("news", "1")
            await asyncio.sleep(0.05)
            return announced.is_set()

        await eventually(told, "the subscription being back")
    await announcements.close()
    await disconnect(redis)


async def test_a_connection_that_falls_silent_is_given_up_for_another(
    server: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windfall.broker.announcements._SILENCE", 0.2)
    with Proxy(server.port) as proxy:
        redis = await connect(proxy.url)
        announcements = Announcements(redis)
        async with announcements.listen("news") as announced:
            await asyncio.wait_for(announced.wait(), 60)  # it is subscribed
            announced.clear()
            assert proxy.silence(lambda sent: b"SUBSCRIBE" in sent) == 1
            await asyncio.wait_for(announced.wait(), 60)  # something may have been published meanwhile
            announced.clear()
            await redis.publish("news", "1")
            await asyncio.wait_for(announced.wait(), 60)
        await announcements.close()
        await disconnect(redis)


async def test_a_connection_on_which_nothing_is_published_is_kept(
    server: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windfall.broker.announcements._SILENCE", 0.2)
    with Proxy(server.port) as proxy:
        redis = await connect(proxy.url)
        announcements = Announcements(redis)
        async with announcements.listen("news"):
            await redis.ping()  # over a connection of its own
            connections = proxy.accepted

            async def pinged() -> bool:
                stats: Any = await redis.info("commandstats")
                calls: int = stats["cmdstat_ping"]["calls"]
                return calls >= 5

            await eventually(pinged, "a few questions whether it is there")
            assert proxy.accepted == connections
        await announcements.close()
        await disconnect(redis)
