"""A Redis that a test may stop and start: the same port and the same data."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import redis

from helpers.waiting import until
from windfall.embedded.broker import find_redis_server, free_port


class RedisProcess:
    """A redis-server of its own, with its data on disk; `fsync` is its `appendfsync`."""

    def __init__(self, *, fsync: str = "always") -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._fsync = fsync
        self._folder = Path(tempfile.mkdtemp(prefix="windfall-redis-"))
        self._copy = Path(tempfile.mkdtemp(prefix="windfall-redis-copy-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with the data that it had."""
        server = find_redis_server()
        assert server, "the tests need a redis-server"
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        options += ["--save", "", "--appendonly", "yes", "--appendfsync", self._fsync]
        self._process = subprocess.Popen([str(server), *options], stdout=subprocess.DEVNULL)
        until(lambda: answers(self.port), "a Redis that answers")

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def remember(self) -> None:
        """Copy what is on disk now."""
        shutil.rmtree(self._copy)
        shutil.copytree(self._folder, self._copy)

    def go_back(self) -> None:
        """While it is down: let the disk hold what `remember` copied, and nothing that came after."""
        shutil.rmtree(self._folder)
        shutil.copytree(self._copy, self._folder)

    def forget(self) -> None:
        """While it is down: empty its disk."""
        shutil.rmtree(self._folder)
        self._folder.mkdir()

    def freeze(self) -> None:
        """Let it accept connections and answer nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.rmtree(self._copy, ignore_errors=True)


def answers(port: int) -> bool:
    """Whether a Redis on this port of 127.0.0.1 answers."""
    with redis.Redis(port=port) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
