"""Two Redis, the second following the first, and three sentinels that watch them, on loopback."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import redis

from helpers.waiting import until
from windfall.embedded.broker import find_redis_server, free_port

PASSWORD = "secret/word"  # noqa: S105 - of a Redis on loopback that lives for one test


class SentinelFleet:
    """Starts them, and kills the master with -9 when it is asked to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._servers: dict[int, subprocess.Popen[bytes]] = {}
        self.ports = [free_port() for _ in range(2)]
        self.sentinels = [free_port() for _ in range(3)]

    @property
    def url(self) -> str:
        """What a user would write."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"redis+sentinel://:{PASSWORD.replace('/', '%2F')}@{hosts}/main"

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _set_up(self) -> None:
        first, second = self.ports
        auth = ["--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0"]
        self._serve(first, *auth)
        self._serve(second, *auth, "--replicaof", "127.0.0.1", str(first))
        until(lambda: self._info(second).get("master_link_status") == "up", "the second following the first")
        for port in self.sentinels:
            self._watch(port, first)
        until(lambda: all(self._knows_all(port) for port in self.sentinels), "sentinels that know all")

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def kill_master(self) -> None:
        """kill -9 whichever Redis is the master now."""
        (master,) = (port for port in self._servers if self._info(port).get("role") == "master")
        self._servers.pop(master).kill()

    def _serve(self, port: int, *options: str) -> None:
        folder = self._folder / str(port)
        folder.mkdir()
        common = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--appendonly", "yes"]
        self._servers[port] = self._start(*common, *options)
        until(lambda: "role" in self._info(port), "a Redis that answers")

    def _watch(self, port: int, master: int) -> None:
        file = self._folder / f"sentinel{port}.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {self._folder}\n"
            f"sentinel monitor main 127.0.0.1 {master} 2\nsentinel auth-pass main {PASSWORD}\n"
            "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
        )
        self._start(str(file), "--sentinel")

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        server = find_redis_server()
        assert server, "the tests need a redis-server"
        process = subprocess.Popen([str(server), *command], stdout=subprocess.DEVNULL)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def _info(self, port: int) -> dict[str, object]:
        with redis.Redis(port=port, password=PASSWORD) as client:
            try:
                return dict(client.info("replication"))
            except redis.RedisError:
                return {}

    def _knows_all(self, port: int) -> bool:
        with redis.Redis(port=port) as client:
            try:
                state = client.sentinel_master("main")
            except redis.RedisError:
                return False
        return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)
