"""What the doctor finds out about a Redis by asking it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis as sync_redis

from faultserver.redis_process import RedisProcess
from windfall.checks.finding import Finding
from windfall.checks.holes import check_holes
from windfall.checks.server import check_server, plain_text


@pytest.fixture
def server() -> Iterator[RedisProcess]:
    with RedisProcess() as process:
        yield process


async def found(url: str) -> str:
    return "\n".join(map(str, await check_server(url)))


async def test_a_password_that_nobody_wants_is_not_taken_for_protection(server: RedisProcess) -> None:
    url = f"redis://default:secret@127.0.0.1:{server.port}"
    assert "✓ it requires no password, but is used on this machine only" in await found(url)
    with sync_redis.Redis(port=server.port) as client:
        client.config_set("requirepass", "secret")
    assert "✓ it requires a password" in await found(url)
    with sync_redis.Redis(port=server.port, password="secret") as client:  # noqa: S106 - for one test
        client.config_set("requirepass", "")


async def test_a_replica_is_found_out(server: RedisProcess) -> None:
    with sync_redis.Redis(port=server.port) as client:
        client.replicaof("127.0.0.1", 1)
    assert "✗ it is a replica of 127.0.0.1:1, which accepts no jobs: use the master's address" in await found(
        server.url
    )


async def test_a_redis_that_takes_no_writes_is_found_out(server: RedisProcess) -> None:
    assert "✓ it accepts writes" in await found(server.url)
    with sync_redis.Redis(port=server.port) as client:
        client.config_set("min-replicas-to-write", 1)
    assert "✗ it rejects writes (" in await found(server.url)


@pytest.mark.parametrize(
    ("info", "known"),
    [
        ({"redis_version": "6.2.14"}, True),
        ({"redis_version": "6.2.20"}, False),
        ({"redis_version": "7.0.15"}, True),
        ({"redis_version": "7.4.6"}, False),
        ({"redis_version": "8.4.0"}, False),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.3"}, True),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.4"}, False),
        ({"redis_version": "7.2.4", "valkey_version": "9.0.0"}, False),
        ({}, False),
        ({"redis_version": "255.255.x"}, False),
    ],
)
def test_versions_with_a_known_hole_are_warned_of(info: dict[str, Any], *, known: bool) -> None:
    assert (check_holes(info) is not None) is known


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("redis://:p@mini.local:6379", True),
        ("rediss://:p@mini.local:6379", False),
        ("redis://localhost", False),
        ("redis://:p@[::1]:6379", False),
        ("redis+sentinel://:p@127.0.0.1:1,mini.local:2/main", True),
        ("unix:///tmp/redis.sock", False),
    ],
)
def test_plain_text_through_the_network_is_warned_of(url: str, *, plain: bool) -> None:
    assert bool(list(plain_text(url))) is plain


def test_a_warning_is_told_with_what_to_do_and_fails_nothing() -> None:
    warned = Finding(ok=True, warning=True, what="it is old", mend="upgrade it")
    assert str(warned) == "! it is old: upgrade it"
    assert warned.as_json() == {"ok": True, "warning": True, "what": "it is old", "mend": "upgrade it"}
