"""Two workers of one name."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import redis

from acceptance.commands import Shell
from helpers.processes import kill
from windfall import keys
from windfall.broker.connection import connect, disconnect
from windfall.queue.workers import WorkerStatus, write_heartbeat

FLAGS = ("--simulate", "m=0", "--log-format", "human")


@pytest.fixture
def windfall(tmp_path: Path, redis_url: str) -> Shell:
    return Shell(tmp_path, redis_url)


def test_a_second_worker_of_a_name_is_refused_on_the_same_machine_until_the_first_is_gone(
    windfall: Shell, redis_url: str
) -> None:
    with windfall.worker(*FLAGS, "--name", "mini") as first:
        done = windfall("worker", *FLAGS, "--name", "mini")
        assert done.code == 1
        assert f"another worker named 'mini' is live (pid {first.pid} on " in done.err
        assert done.err.count("\n") == 1
        kill(first)
        kept_alive(redis_url)
        with windfall.worker(*FLAGS, "--name", "mini"):
            assert windfall("fleet").out.count("mini-") == 2  # the heartbeat of the first is there still


def test_a_namesake_on_another_machine_is_told_of(windfall: Shell, redis_url: str) -> None:
    asyncio.run(beat(redis_url))
    kept_alive(redis_url)
    with windfall.started("worker", *FLAGS, "--name", "mini") as process:
        assert process.stderr is not None
        told = process.stderr.readline().decode()
        assert "another worker named 'mini' is live (pid 7 on elsewhere.local)" in told
        assert process.stderr.readline().startswith(b"ready: ")


async def beat(redis_url: str) -> None:
    """As a worker of an earlier version on another machine."""
    pool = await connect(redis_url)
    facts = {"host": "elsewhere.local", "pid": 7, "state": "running", "started_at": 0.0, "seen_at": 0.0, "version": "0"}
    await write_heartbeat(pool, WorkerStatus.model_validate({"id": "mini-7-aaaaaa", **facts}))
    await disconnect(pool)


def kept_alive(redis_url: str) -> None:
    """The heartbeats that there are stay, however long the next worker takes to start."""
    with redis.Redis.from_url(redis_url) as client:
        kept = [client.persist(key) for key in client.scan_iter(f"{keys.WORKER}*")]
    assert kept == [True]
