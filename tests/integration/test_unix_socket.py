"""A Redis behind a Unix socket, named by the user's own `unix://` URL."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from helpers.requests import requests
from helpers.workers import simulated, worker
from windfall import Producer
from windfall.broker.connection import connect, disconnect
from windfall.checks.server import check_server
from windfall.errors import BrokerDenied, BrokerUnavailable, ConfigError


@pytest.fixture
async def socket_path(redis_server_binary: Path, tmp_path: Path) -> AsyncIterator[Path]:
    """The socket of a Redis with the password `p/w`."""
    path = tmp_path / "a b.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--dir", str(tmp_path), "--save", "", "--requirepass", "p/w"]
    command = [str(redis_server_binary), *options, "--maxmemory-policy", "noeviction"]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        while not path.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.02)
        yield path
    finally:
        server.kill()
        await server.wait()


async def test_a_batch_runs_over_a_unix_socket(socket_path: Path) -> None:
    url = f"unix://:p%2Fw@{socket_path}".replace(" ", "%20") + "?db=3"
    async with worker(simulated(), url), Producer(url) as producer:
        batch = await producer.enqueue_batch(requests(20))
        assert [result.ok async for result in producer.results(batch.id)] == [True] * 20
    redis = await connect(url)
    try:
        assert await redis.dbsize() > 0
        assert redis.connection_pool.connection_kwargs["db"] == 3
    finally:
        await disconnect(redis)


async def test_a_wrong_password_over_a_unix_socket_is_told_of_without_it(socket_path: Path) -> None:
    with pytest.raises(BrokerDenied, match="refused") as caught:
        await connect(f"unix://:S3CRET@{socket_path}".replace(" ", "%20"))
    assert "CRET" not in str(caught.value)


async def test_a_socket_that_is_not_there_or_too_long_is_an_outage_told_in_one_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "none.sock", tmp_path / ("x" * 200)):
        with pytest.raises(BrokerUnavailable, match="cannot be reached"):
            await connect(f"unix://{path}")


@pytest.mark.parametrize("url", ["unix://", "unix:///", "unix://tmp/redis.sock", "unix://:S3/CRET@/tmp/redis.sock"])
async def test_a_unix_url_without_an_absolute_path_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a Redis URL.*unix:///PATH") as caught:
        await connect(url)
    assert "CRET" not in str(caught.value)


async def test_the_doctor_says_who_can_open_a_socket_that_wants_no_password(
    redis_server_binary: Path,
) -> None:
    folder = Path(mkdtemp(dir="/tmp"))
    path = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--unixsocketperm", "777", "--dir", str(folder), "--save", ""]
    server = await asyncio.create_subprocess_exec(str(redis_server_binary), *options, stdout=asyncio.subprocess.DEVNULL)
    try:
        while not path.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.02)
        for mode, said in (
            (0o700, "✓ it wants no password, and only you can open its socket"),
            (0o750, "✗ it wants no password, and its group on this machine can open its socket: "),
            (0o755, "✗ it wants no password, and everybody on this machine can open its socket: "),
        ):
            folder.chmod(mode)
            assert said in "\n".join(map(str, await check_server(f"unix://{path}")))
    finally:
        server.kill()
        await server.wait()
        shutil.rmtree(folder)
