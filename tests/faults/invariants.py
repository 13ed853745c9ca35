"""What has to hold through every fault: each row ends in exactly one result, and a batch's counts add up at all times.

A third is counted: the waste, completions that a backend was asked for beyond one a row.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from windfall import BrokerUnavailable, CompletionResult, Producer, keys
from windfall.broker.connection import OUTAGE
from windfall.runtime.tasks import cancel_all

STATES = (b"queued", b"running", b"completed", b"failed", b"cancelled", b"expired")

#: Seconds between two looks at a batch's counts.
_LOOK = 0.01


class Watch:
    """Looks at a batch's counts again and again, from a connection of its own."""

    def __init__(self, url: str, batch_id: str) -> None:
        self._url = url
        self._key = keys.BATCH + batch_id
        self.looks = 0
        self.wrong: list[dict[bytes, bytes]] = []

    async def run(self) -> None:
        """Look for ever; an outage of Redis is waited out."""
        client: Any = Redis.from_url(self._url, socket_timeout=30)
        try:
            while True:
                try:
                    self._check(await client.hgetall(self._key))
                except (RedisError, *OUTAGE):
                    await asyncio.sleep(0.1)
                await asyncio.sleep(_LOOK)
        finally:
            await client.aclose()

    def _check(self, counts: dict[bytes, bytes]) -> None:
        self.looks += 1
        if int(counts.get(b"total", 0)) != sum(int(counts.get(state, 0)) for state in STATES):
            self.wrong.append(counts)


@asynccontextmanager
async def watched(url: str, batch_id: str) -> AsyncIterator[Watch]:
    """The counts of a batch add up at every instant of the body, or the test fails."""
    watch = Watch(url, batch_id)
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        await cancel_all([task])
    assert watch.looks > 0
    assert not watch.wrong, f"{len(watch.wrong)} of {watch.looks} looks: {watch.wrong[0]}"


async def through_outages(url: str, ask: Callable[[Producer], Awaitable[Any]], *, within: float = 60.0) -> Any:
    """Ask a producer, and again for as long as Redis is away."""
    async with asyncio.timeout(within):
        while True:
            try:
                async with Producer(url) as producer:
                    return await ask(producer)
            except BrokerUnavailable:
                await asyncio.sleep(0.1)


async def command_rate(redis: Any) -> float:
    """The commands that Redis is asked a second, however long the look takes."""
    before, began = (await redis.info("stats"))["total_commands_processed"], time.monotonic()
    await asyncio.sleep(2)
    after, ended = (await redis.info("stats"))["total_commands_processed"], time.monotonic()
    return float((after - before) / (ended - began))


async def finished(url: str, batch_id: str, *, within: float = 60.0) -> None:
    """Wait until a batch is done, whatever happens to Redis meanwhile."""

    async def done(producer: Producer) -> None:
        while not (await producer.batch(batch_id)).done:  # noqa: ASYNC110 - the faults may hit every way of being told
            await asyncio.sleep(0.05)

    await through_outages(url, done, within=within)


async def each_row_once(url: str, batch_id: str, rows: int) -> list[CompletionResult]:
    """The results of a finished batch: one a row, and nothing of its jobs left behind."""
    async with Producer(url) as producer:
        results = [result async for result in producer.results(batch_id, follow=False)]
        status = await producer.batch(batch_id)
        left = [key async for key in producer.redis.scan_iter(f"{keys.PAYLOAD}{batch_id}:*", 1000)]
        left += [key async for key in producer.redis.scan_iter(f"{keys.HOLDER}{batch_id}:*", 1000)]
        left += [key async for key in producer.redis.scan_iter(f"{keys.JOB}{batch_id}:*", 1000)]
    times = Counter(result.job_id for result in results)
    expected = {keys.job_id(batch_id, row) for row in range(1, rows + 1)}
    assert not expected - set(times), f"lost: {sorted(expected - set(times))[:5]}"
    assert set(times) == expected
    assert set(times.values()) <= {1}, f"twice: {[name for name, n in times.items() if n > 1][:5]}"
    counted = {state: getattr(status, state) for state in ("completed", "failed", "cancelled", "expired")}
    assert counted == {state: sum(result.state.value == state for result in results) for state in counted}
    assert (status.total, status.queued, status.running) == (rows, 0, 0)
    assert not left, f"left behind: {left[:5]}"
    return results


class Tally:
    """How often backends were asked, told by the workers of `faults/worker.py` line by line in a file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "tally"
        self.file.touch()
        #: Completions asked for that Redis knows nothing of any more.
        self.forgotten = 0

    @property
    def asked(self) -> Counter[str]:
        """Job id -> how often a backend was asked to complete it."""
        return Counter(line.split()[1] for line in self.file.read_text().splitlines())

    def by(self, pid: int) -> Counter[str]:
        """The same of one worker's backends."""
        return Counter(line.split()[1] for line in self.file.read_text().splitlines() if line.split()[2] == str(pid))

    def unexplained(self, results: list[CompletionResult]) -> list[str]:
        """The rows that were asked for more often than their ledgers say."""
        asked = self.asked
        return [result.job_id for result in results if asked[result.job_id] > len(result.attempts)]

    def waste(self, rows: int) -> int:
        """Completions beyond one a row."""
        return self.asked.total() - rows
