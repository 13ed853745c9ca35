"""A connection leaves a server that was demoted, and says why a server turned it away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis as sync_redis
from arq import ArqRedis

from faultserver.proxy import Proxy
from faultserver.redis_process import RedisProcess
from helpers.waiting import eventually
from windfall.broker.announcements import Announcements
from windfall.broker.connection import connect, disconnect, translated
from windfall.errors import BrokerUnavailable


@pytest.fixture
def first() -> Iterator[RedisProcess]:
    with RedisProcess() as server:
        yield server


@pytest.fixture
def second() -> Iterator[RedisProcess]:
    with RedisProcess() as server:
        yield server


def fail_over(proxy: Proxy, old: RedisProcess, new: RedisProcess) -> None:
    """As a virtual address does: it leads to the new master, and the connections to the old one stay."""
    with sync_redis.Redis(port=old.port) as client:
        client.replicaof("127.0.0.1", 1)  # nobody is there, or it would pass on what is published
    proxy.target = new.port


async def test_a_write_and_a_script_reach_the_new_master_behind_the_same_address(
    first: RedisProcess, second: RedisProcess
) -> None:
    with Proxy(first.port) as proxy:
        redis: Any = await connect(proxy.url)
        script = await redis.script_load("return redis.call('SET', KEYS[1], 'script')")
        await redis.set("before", "1")
        fail_over(proxy, first, second)
        await redis.set("a", "1")
        assert await value_at(second, "a") == b"1"
        fail_over(proxy, second, first)
        with sync_redis.Redis(port=first.port) as client:
            client.replicaof("NO", "ONE")
        assert await redis.script_load("return redis.call('SET', KEYS[1], 'script')") == script
        await redis.evalsha(script, 1, "b")
        assert await value_at(first, "b") == b"script"
        await disconnect(redis)


async def value_at(server: RedisProcess, key: str) -> bytes | None:
    with sync_redis.Redis(port=server.port) as client:
        found: bytes | None = client.get(key)
        return found


async def test_who_only_listens_follows_when_another_has_met_the_replica(
    first: RedisProcess, second: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windfall.broker.announcements._SILENCE", 0.2)
    with Proxy(first.port) as proxy:
        redis: Any = await connect(proxy.url)
        announcements = Announcements(redis)
        async with announcements.listen("news") as announced:
            await redis.set("a", "1")
            fail_over(proxy, first, second)
            await redis.set("a", "2")

            async def told() -> bool:
                announced.clear()
                await redis.publish("news", "1")
                await asyncio.sleep(0.05)
                return announced.is_set()

            await eventually(told, "the new master's words being heard")
        await announcements.close()
        await disconnect(redis)


async def test_a_replica_is_told_of_as_such(first: RedisProcess, second: RedisProcess) -> None:
    with sync_redis.Redis(port=first.port) as client:
        client.replicaof("127.0.0.1", second.port)
    redis = await connect(first.url)
    with pytest.raises(BrokerUnavailable, match=r"is a read-only replica .*address of its master"), translated():
        await redis.set("a", "1")
    await disconnect(redis)


async def test_a_server_without_room_for_clients_is_told_of_in_its_own_words(first: RedisProcess) -> None:
    with sync_redis.Redis(port=first.port) as client:
        client.config_set("maxclients", 1)
        with pytest.raises(BrokerUnavailable, match="max number of clients reached"):
            await connect(first.url)
        client.config_set("maxclients", 100)
    redis = await connect(first.url)
    await disconnect(redis)


async def test_tasks_that_share_a_connection_open_it_once(redis: ArqRedis) -> None:
    connection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis is typed in parts
    before = int((await redis.info("stats"))["total_connections_received"])
    try:
        await asyncio.gather(*[connection.connect() for _ in range(8)])
        assert int((await redis.info("stats"))["total_connections_received"]) == before + 1
    finally:
        await connection.disconnect()
