"""The Redis that `run` and `demo` start: for them alone, whoever else is on this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError

from helpers.processes import children
from helpers.requests import requests
from helpers.waiting import eventually
from helpers.workers import simulated, worker
from windfall import Producer
from windfall.broker.connection import connect
from windfall.embedded import broker
from windfall.embedded.broker import EmbeddedBroker, find_redis_server
from windfall.errors import BrokerDenied, BrokerUnavailable, ConfigError

#: Tries, as the user of this number, to open and to connect to what it finds in a folder; prints what succeeded.
STRANGER = """
import os, socket, sys
uid, folder = int(sys.argv[1]), sys.argv[2]
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
def attempt(name, what):
    try:
        what()
    except OSError:
        return
    print(name)
attempt("list", lambda: os.listdir(folder))
for name in ("redis.conf", "redis.log", "appendonly.aof"):
    attempt(name, lambda: open(os.path.join(folder, name)).close())
attempt("connect", lambda: socket.socket(socket.AF_UNIX).connect(os.path.join(folder, "redis.sock")))
"""
NOBODY = 65534
#: Where a socket's path is short enough.
SHORT = Path("/tmp")  # noqa: S108 - folders in it are made for this user alone


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a socket, with no parent that keeps others out by itself."""
    parent = Path(tempfile.mkdtemp(prefix="wf", dir=SHORT))
    parent.chmod(0o755)
    yield parent / "run"
    shutil.rmtree(parent)


@pytest.fixture
async def embedded(folder: Path) -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker.start(folder) as started:
        yield started


def what_a_stranger_can(folder: Path) -> list[str]:
    """Where the tests run as root it really is another user; otherwise the modes alone tell."""
    if os.geteuid() == 0:
        command = [sys.executable, "-I", "-S", "-c", STRANGER, str(NOBODY), str(folder)]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout.split()
    return ["mode"] if stat.S_IMODE(folder.stat().st_mode) & 0o077 else []


async def test_another_local_user_can_neither_open_nor_read_it(embedded: EmbeddedBroker, folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert what_a_stranger_can(folder) == []
    for path in folder.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


async def test_it_has_no_port_and_no_secret_on_its_command_line(embedded: EmbeddedBroker) -> None:
    info: Any = await embedded.redis.info("server")
    assert info["tcp_port"] == 0
    asking = ["ps", "-p", str(info["process_id"]), "-o", "command="]
    listing = await asyncio.to_thread(subprocess.run, asking, capture_output=True, text=True, check=True)
    assert embedded.url
    password = embedded.url.partition("@")[0].rpartition(":")[2]
    assert len(password) == 64
    assert password not in listing.stdout
    assert password not in repr(embedded)


async def test_without_the_password_nothing_is_answered(embedded: EmbeddedBroker, folder: Path) -> None:
    for user in ("", "windfall:wrong@", ":wrong@"):
        with pytest.raises(BrokerDenied):
            await connect(f"unix://{user}{folder / 'redis.sock'}")


@pytest.mark.parametrize(
    "command",
    [
        "CONFIG SET dir /tmp", "CONFIG GET *", "MODULE LOAD /tmp/x.so", "MODULE LIST", "DEBUG SLEEP 0", "SAVE",
        "BGSAVE", "BGREWRITEAOF", "SLAVEOF NO ONE", "REPLICAOF NO ONE", "MIGRATE h 1 k 0 1", "ACL LIST",
        "SHUTDOWN NOSAVE", "FLUSHALL", "MONITOR", "CLIENT LIST", "RESTORE k 0 x", "KEYS *", "SWAPDB 0 1",
    ],
)  # fmt: skip
async def test_no_command_that_writes_files_or_runs_code_is_taken(embedded: EmbeddedBroker, command: str) -> None:
    redis: Any = embedded.redis
    with pytest.raises(ResponseError, match=r"permission|not allowed|unknown command"):
        await redis.execute_command(*command.split())


async def test_a_batch_runs_on_it(embedded: EmbeddedBroker) -> None:
    assert embedded.url
    async with worker(simulated(), embedded.url), Producer(embedded.url) as producer:
        batch = await producer.enqueue_batch(requests(30))
        assert [result.ok async for result in producer.results(batch.id)] == [True] * 30
        await producer.retry(batch.id)
        await producer.delete(batch.id)


async def test_a_folder_with_a_path_too_long_for_a_socket_is_no_obstacle(folder: Path) -> None:
    deep = folder / ("é" * 60) / 'a "quoted" \\ name'
    deep.parent.mkdir(parents=True, mode=0o700)
    async with EmbeddedBroker.start(deep) as started:
        assert started.url
        sockets = Path(str(started.redis.connection_pool.connection_kwargs["path"])).parent
        assert sockets.parent == SHORT
        assert what_a_stranger_can(sockets) == []
        await started.redis.set("k", 1)
    assert not sockets.exists()
    assert (deep / "redis.log").exists()


async def test_after_kill_9_neither_the_server_nor_its_socket_is_left(folder: Path) -> None:
    deep = folder / ("x" * 120)
    code = (
        "import asyncio, pathlib, sys\nfrom windfall.embedded.broker import EmbeddedBroker\n"
        "async def main():\n"
        "    async with EmbeddedBroker.start(pathlib.Path(sys.argv[1])) as started:\n"
        "        print(started.redis.connection_pool.connection_kwargs['path'], flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(main())"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(deep)], stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    assert process.stdout
    socket = Path(process.stdout.readline().strip())
    assert socket.exists()
    (guard,) = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    async def gone() -> bool:
        return not socket.parent.exists() and not children(guard)

    await eventually(gone, "the end of the server and of its socket's folder")


async def test_a_folder_that_others_can_look_into_is_refused(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="must be a folder that only you can access; run: chmod 700"):
        await EmbeddedBroker.start(folder).__aenter__()


async def test_a_server_that_does_not_start_is_told_of_with_its_last_words(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\necho 'FATAL CONFIG FILE ERROR: too old' >&2\nexit 1\n")
    server.chmod(0o755)
    monkeypatch.setattr(broker, "find_redis_server", lambda: server)
    with pytest.raises(BrokerUnavailable, match="its last words: FATAL CONFIG FILE ERROR: too old"):
        await EmbeddedBroker.start(folder).__aenter__()


async def test_it_inherits_no_secret(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "S3CRET")
    server = tmp_path / "redis-server"
    server.write_text(f"#!/bin/sh\nenv > '{tmp_path}/env'\n")
    server.chmod(0o755)
    monkeypatch.setattr(broker, "find_redis_server", lambda: server)
    with pytest.raises(BrokerUnavailable):
        await EmbeddedBroker.start(folder).__aenter__()
    seen = (tmp_path / "env").read_text()
    assert "PATH=" in seen
    assert "S3CRET" not in seen


def test_the_systems_server_comes_before_what_a_wheel_put_beside_our_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, systems = tmp_path / "venv", tmp_path / "system"
    for each in (ours, systems):
        each.mkdir()
        (each / "redis-server").write_text("#!/bin/sh\n")
        (each / "redis-server").chmod(0o755)
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(ours))
    monkeypatch.setenv("PATH", f"{ours}{os.pathsep}{systems}")
    assert find_redis_server() == systems / "redis-server"
    monkeypatch.setenv("PATH", str(ours))
    assert find_redis_server() != ours / "redis-server"
