"""Fixtures for every test: a real Redis and a server that fails on command, of the session's own.

The Redis is emptied before each test that asks for it.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis as sync_redis
from arq import ArqRedis
from hypothesis import HealthCheck, settings

from faultserver import FaultServer
from faultserver.redis_process import answers
from helpers.waiting import until
from windfall import Producer
from windfall.broker.connection import connect, disconnect
from windfall.embedded.broker import HOW_TO_INSTALL, find_redis_server, free_port
from windfall.runtime.tasks import cancel_all

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("windfall", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("windfall")


@pytest.fixture(scope="session")
def redis_server_binary() -> Path:
    """The redis-server that tests start; a machine without one fails, it does not skip."""
    server = find_redis_server()
    if server is None:
        pytest.fail(f"the tests need a redis-server: {HOW_TO_INSTALL}")
    return server


@pytest.fixture(scope="session")
def _session_redis(redis_server_binary: Path) -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="windfall-redis-"))
    port = free_port()
    command = [redis_server_binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
    server = subprocess.Popen([*map(str, command), "--maxmemory-policy", "noeviction"], stdout=subprocess.DEVNULL)
    try:
        until(lambda: answers(port), "the Redis of the tests")
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_url(_session_redis: str) -> str:
    """The URL of an empty Redis."""
    with sync_redis.Redis.from_url(_session_redis) as client:
        client.flushall()
    return _session_redis


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    """A connection to an empty Redis."""
    pool = await connect(redis_url)
    yield pool
    # Claim clients that a test made and did not close: they would open the connection again.
    await cancel_all(task for task in asyncio.all_tasks() if task.get_name() == "claim confirmation")
    await disconnect(pool)


@pytest.fixture
async def producer(redis_url: str) -> AsyncIterator[Producer]:
    """A producer on an empty Redis."""
    async with Producer(redis_url) as producer:
        yield producer


@pytest.fixture(scope="session")
def fault_server() -> Iterator[FaultServer]:
    """A server that fails on command; each test plans for a model name of its own."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """A model name that no other test uses."""
    name: str = request.node.name
    return name
