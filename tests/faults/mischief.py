"""The faults of the soak: what can be done to a small fleet, each as one coroutine."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from faults.invariants import Tally
from faultserver.redis_process import RedisProcess
from helpers.processes import program
from windfall import BrokerUnavailable, NotFound, Producer
from windfall.broker.connection import OUTAGE

Mischief = Callable[["Victims"], Awaitable[None]]


class Victims:
    """A Redis, workers and a producer that submits, all of which may be killed and are replaced."""

    def __init__(self, folder: Path, rows: int, chance: random.Random) -> None:
        self.redis = RedisProcess(fsync="everysec")
        self.tally = Tally(folder)
        self.chance = chance
        self._folder = folder
        self._rows = rows
        self._stack = ExitStack()
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._submitter: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What all workers said."""
        return self._folder / "workers.log"

    def start(self, workers: int) -> None:
        """Start everything."""
        self._stack.enter_context(self.redis)
        for place in range(workers):
            self.replace(place)
        self.submit()

    def close(self) -> None:
        """End everything."""
        for worker in self._workers.values():
            worker.send_signal(signal.SIGCONT)
        self._stack.close()

    def replace(self, place: int) -> None:
        """A new worker in this place."""
        flags = ("--redis", self.redis.url, "--simulate", 0.5, "--slots", 8, "--lease", 3, "--tally", self.tally.file)
        self._workers[place] = self._run(program("worker", *flags, log=self.log))

    def submit(self) -> None:
        """Run the same submission (again): it adds what is missing."""
        flags = ("--redis", self.redis.url, "--rows", self._rows, "--chunk", 25)
        self._submitter = self._run(program("submitter", *flags, log=self._folder / "producer.log"))

    async def submitted(self, within: float) -> bool:
        """Wait for the end of the submission; returns whether it came through."""
        assert self._submitter
        try:
            return await asyncio.to_thread(self._submitter.wait, within) == 0
        except subprocess.TimeoutExpired:
            return False

    def some_worker(self) -> tuple[int, subprocess.Popen[bytes]]:
        """A place and its worker, by chance."""
        place = self.chance.choice(sorted(self._workers))
        return place, self._workers[place]

    def end_submitter(self) -> None:
        """kill -9 the producer, where it still submits."""
        assert self._submitter
        self._submitter.kill()

    def _run(self, process: AbstractContextManager[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        return self._stack.enter_context(process)


async def worker_killed(victims: Victims) -> None:
    """kill -9, and a new one."""
    place, worker = victims.some_worker()
    worker.kill()
    await asyncio.sleep(victims.chance.uniform(0, 3))
    victims.replace(place)


async def worker_drained(victims: Victims) -> None:
    """SIGTERM, and a new one."""
    place, worker = victims.some_worker()
    worker.terminate()
    victims.replace(place)


async def worker_paused(victims: Victims) -> None:
    """SIGSTOP, shorter or longer than its lease."""
    _, worker = victims.some_worker()
    worker.send_signal(signal.SIGSTOP)
    await asyncio.sleep(victims.chance.uniform(0.5, 8))
    worker.send_signal(signal.SIGCONT)


async def redis_killed(victims: Victims) -> None:
    """kill -9, and back from its append-only file."""
    await asyncio.to_thread(victims.redis.kill)
    await asyncio.sleep(victims.chance.choice([0.0, 0.3, 2.0, 6.0]))
    await asyncio.to_thread(victims.redis.start)


async def redis_set_back(victims: Victims) -> None:
    """Back as it was a second before it was killed."""
    await asyncio.to_thread(victims.redis.remember)
    await asyncio.sleep(1)
    await asyncio.to_thread(victims.redis.kill)
    victims.redis.go_back()
    await asyncio.to_thread(victims.redis.start)


async def redis_stalled(victims: Victims) -> None:
    """SIGSTOP: it accepts connections and answers nothing."""
    victims.redis.freeze()
    await asyncio.sleep(victims.chance.choice([0.5, 2.0, 5.0, 12.0]))
    victims.redis.thaw()


async def connections_reset(victims: Victims) -> None:
    """CLIENT KILL, a few times."""
    for _ in range(5):
        for kind in ("normal", "pubsub"):
            client: Any = Redis.from_url(victims.redis.url)
            try:
                await client.execute_command("CLIENT", "KILL", "TYPE", kind)
            except (RedisError, *OUTAGE):
                pass
            finally:
                await client.aclose()
        await asyncio.sleep(victims.chance.uniform(0, 0.3))


async def producer_killed(victims: Victims) -> None:
    """kill -9 while it may be submitting, and the same command again."""
    victims.end_submitter()
    victims.submit()


async def batch_paused(victims: Victims) -> None:
    """Paused from afar, and resumed; a worker may be killed meanwhile."""
    # It may not be there yet, or have ended; and Redis may be about to come back from another fault.
    with suppress(NotFound, BrokerUnavailable):
        async with Producer(victims.redis.url) as producer:
            await producer.pause("batch", "b")
    await asyncio.sleep(victims.chance.uniform(0.2, 3))
    if victims.chance.random() < 0.5:
        await worker_killed(victims)
    # Or the soak would wait for its rows in vain.
    while not await _resumed(victims):  # noqa: ASYNC110 - nobody tells us when Redis is back
        await asyncio.sleep(0.5)


async def _resumed(victims: Victims) -> bool:
    try:
        async with Producer(victims.redis.url) as producer:
            await producer.resume("batch", "b")
    except BrokerUnavailable:
        return False
    except NotFound:
        pass
    return True


MISCHIEF: tuple[Mischief, ...] = (
    worker_killed,
    worker_drained,
    worker_paused,
    redis_killed,
    redis_set_back,
    redis_stalled,
    connections_reset,
    producer_killed,
    batch_paused,
)
