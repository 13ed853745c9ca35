"""The producer's side of the queue: enqueue, follow, read, cancel, retry."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, Self, Unpack

from arq import ArqRedis

from windfall import keys
from windfall.batch import BatchOptions, BatchStatus
from windfall.broker.announcements import Announcements
from windfall.broker.clock import RedisClock
from windfall.broker.connection import connect, disconnect, translated
from windfall.errors import BatchCancelled, BatchFull, IdTaken, NotConnected, WaitTimeout
from windfall.limits import DEFAULT_LIMITS, Limits
from windfall.queue import dead, downloading, pausing, reading, shares, steering
from windfall.queue.dead import DeadLetter
from windfall.queue.fleet import FleetStatus, read_fleet
from windfall.queue.housekeeping import Housekeeping
from windfall.queue.opening import opening_arguments
from windfall.queue.patience import patiently
from windfall.queue.shares import LaneSharer
from windfall.queue.submission import Submission, enqueue_one
from windfall.request import CompletionRequest, Route
from windfall.result import CompletionResult, Delta, JobState
from windfall.row import Row
from windfall.runtime.tasks import wait_for
from windfall.scripts import Script, run
from windfall.telemetry.tracing import enqueueing

#: The default number of seconds for which batches are kept after their end: 7 days.
KEEP: Final = 7 * 86400.0

#: Seconds after which a waiter checks by itself, in case an announcement was lost with its connection.
_LOOK_AGAIN: Final = 5.0

Order = Literal["completion", "input"]
Target = Literal["lane", "batch", "worker"]


@dataclass(frozen=True, slots=True)
class _Session:
    """What a producer has between entering and leaving its `async with` block."""

    redis: ArqRedis
    clock: RedisClock
    announcements: Announcements
    housekeeping: Housekeeping


class Producer:
    """Enqueues requests and reads their results, from any machine that reaches the Redis.

    `redis` is a URL, or the caller's own `ArqRedis`, which the caller then closes. `keep` is the number of seconds for
    which batches and their results are kept after their end (0 = forever); `limits` bounds what is accepted. Every
    method raises `BrokerUnavailable`, `BrokerDenied` or `BrokerFull` when Redis fails to do its part, and
    `NotConnected` outside `async with`.

        async with Producer("redis://mini.local:6379") as producer:
            job_id = await producer.enqueue(CompletionRequest(model="small", messages=[...]))
            result = await producer.wait(job_id, timeout=60)
    """

    def __init__(self, redis: str | ArqRedis, *, keep: float = KEEP, limits: Limits = DEFAULT_LIMITS) -> None:
        self._given = redis
        self._keep_ms = round(keep * 1000)
        self._limits = limits
        self._entered: _Session | None = None

    async def __aenter__(self) -> Self:
        redis = await connect(self._given) if isinstance(self._given, str) else self._given
        clock = RedisClock(redis)
        self._entered = _Session(redis, clock, Announcements(redis), Housekeeping(redis, clock, self._keep_ms))
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._announcements.close()
        if isinstance(self._given, str):
            await disconnect(self._redis)
        self._entered = None

    @property
    def _session(self) -> _Session:
        if self._entered is None:
            raise NotConnected("this Producer has no connection: use it inside `async with Producer(…) as producer:`")
        return self._entered

    @property
    def _redis(self) -> ArqRedis:
        return self._session.redis

    @property
    def _clock(self) -> RedisClock:
        return self._session.clock

    @property
    def _announcements(self) -> Announcements:
        return self._session.announcements

    @property
    def _housekeeping(self) -> Housekeeping:
        return self._session.housekeeping

    async def enqueue(self, request: CompletionRequest, *, interactive: bool = False) -> str:
        """Enqueue one request; returns its job id. An `interactive` one goes before all others that wait.

        Raises `InvalidRequest` if it is larger than the limit, or has the route `local` and needs the cloud.
        """
        name = secrets.token_hex(8)
        with enqueueing(request.model, **{"messaging.message.id": name}), translated():
            await enqueue_one(self._redis, self._clock, request, name, self._limits, interactive=interactive)
        return name

    async def open_batch(
        self, *, batch_id: str | None = None, source: str = "", **options: Unpack[BatchOptions]
    ) -> BatchStatus:
        """Create a batch without rows, or find it; `enqueue_batch` with its id then adds the rows.

        `BatchOptions` says what the options mean. `source` identifies where the rows come from: without a `batch_id`,
        an incomplete batch with the same source is continued. Raises `InvalidRequest` for a value that cannot be, and
        for metadata larger than the limit.
        """
        name = keys.checked_batch_id(batch_id or secrets.token_hex(6))
        opening = opening_arguments(options, self._keep_ms, self._limits)
        with translated():
            opened, _ = await run(
                self._redis, Script.OPEN_BATCH, [keys.BATCHES], [name, int(batch_id is None), source, *opening]
            )
            return await reading.batch(self._redis, opened.decode())

    async def enqueue_batch(
        self,
        requests: Iterable[Row] | AsyncIterable[Row],
        *,
        batch_id: str | None = None,
        on_progress: Callable[[int], None] | None = None,
        **options: Unpack[BatchOptions],
    ) -> BatchStatus:
        """Enqueue many requests as one batch, in constant memory, while they come.

        What has come is sent at least once a second. A plain iterable is read in the event loop's thread, which it
        holds up for as long as it takes for a row; so a source that waits (a pipe, a service) is better an async one.

        Row n (from 1) becomes job `<batch id>:<n>`. Submitting the same rows under the same `batch_id` again adds only
        what is missing. `BatchOptions` says what the options mean. `on_progress` is called with the number of rows sent
        so far. An outage of Redis shorter than half a minute is only a delay, even one in which it answers but rejects
        writes. Raises `BatchCancelled` if the batch is cancelled or deleted in the meantime,
        `BatchFull` if there are more rows than the limit allows (those already added run), and `BatchDiffers` if the
        batch already has different rows; then none is added.
        """
        name = batch_id or secrets.token_hex(6)
        batch = await patiently(lambda: self.open_batch(batch_id=name, **options))
        with enqueueing("batch", **{"windfall.batch": batch.id}):
            submission = Submission(self._redis, self._clock, batch, self._limits)
            try:
                await submission.add(requests, on_progress)
            except (BatchCancelled, BatchFull, IdTaken):
                await patiently(lambda: self._seal(batch.id))
                raise
            await patiently(lambda: self._seal(batch.id))
        return await patiently(lambda: self.batch(batch.id))

    async def _seal(self, batch_id: str) -> None:
        with translated():
            await run(self._redis, Script.SEAL_BATCH, [keys.BATCH + batch_id], [])

    async def result(self, job_id: str) -> CompletionResult | None:
        """A job's result, or None while it is unfinished. Raises `NotFound` for an unknown or expired job."""
        with translated():
            await self._housekeeping.maybe_sweep()
            return await reading.result(self._redis, job_id)

    async def state(self, job_id: str) -> JobState:
        """The state of a job. Raises `NotFound`."""
        with translated():
            return await reading.state(self._redis, job_id)

    async def wait(self, job_id: str, timeout: float | None = None) -> CompletionResult:
        """A job's result as soon as there is one: pushed, not polled.

        `timeout` is in seconds; None waits forever. Raises `WaitTimeout` and `NotFound`.
        """
        try:
            async with asyncio.timeout(timeout):
                with translated():
                    return await self._wait(job_id)
        except TimeoutError as exc:
            raise WaitTimeout(f"job {job_id} has no result after {timeout:g} s; it is still queued or running") from exc

    async def _wait(self, job_id: str) -> CompletionResult:
        async with self._announcements.listen(keys.CHANNEL_DONE + job_id) as announced:
            while True:
                announced.clear()
                await self._housekeeping.maybe_sweep()
                result = await reading.result(self._redis, job_id)
                if result is not None:
                    return result
                await wait_for(announced, within=_LOOK_AGAIN)

    async def batch(self, batch_id: str) -> BatchStatus:
        """A batch at this instant. Raises `NotFound`."""
        with translated():
            await self._housekeeping.maybe_sweep()
            return await reading.batch(self._redis, batch_id)

    async def results(
        self, batch_id: str, *, after: str = "0", follow: bool = True, order: Order = "completion"
    ) -> AsyncIterator[CompletionResult]:
        """A batch's results; `follow` waits for those still missing.

        They are in order of completion or, with `order="input"`, in that of the rows; without `follow` the latter stops
        before the first row that has no result yet.
        """
        async for _, result in self.results_with_cursor(batch_id, after=after, follow=follow, order=order):
            yield result

    async def results_with_cursor(
        self, batch_id: str, *, after: str = "0", follow: bool = True, order: Order = "completion"
    ) -> AsyncIterator[tuple[str, CompletionResult]]:
        """As `results`, each with a cursor; pass it as `after`, with the same order, to continue after that result.

        An outage of Redis shorter than half a minute is only a delay. Raises `NotFound`.
        """
        read = downloading.by_row if order == "input" else downloading.by_end
        with translated():
            async for cursor, result in read(self._redis, self._housekeeping, batch_id, after, follow=follow):
                yield cursor, result

    async def failures(self, batch_id: str, *, after: str = "0") -> tuple[str, Counter[str]]:
        """Count a batch's failed rows after a cursor by error type; returns that and the next cursor."""
        with translated():
            return await downloading.failures(self._redis, batch_id, after)

    async def stream(self, job_id: str) -> AsyncIterator[Delta]:
        """The pieces of a completion as it is written, from its beginning, for a job with `stream=true`.

        A delta with `attempt` set voids every piece before it. Ends when the job has its result.
        """
        with translated():
            async for delta in reading.deltas(self._redis, job_id):
                yield delta

    async def cancel(self, job_or_batch_id: str) -> int:
        """Cancel a job or the unfinished jobs of a batch; returns how many were affected. Raises `NotFound`.

        A queued job ends at once. A running one is stopped by its worker and may still complete.
        """
        with translated():
            return await steering.cancel(self._redis, self._clock, job_or_batch_id, self._keep_ms)

    async def retry(self, job_or_batch_id: str) -> int:
        """Retry failed jobs, and only those; returns how many were queued again. Raises `NotFound`."""
        with translated():
            return await steering.retry(self._redis, self._clock, job_or_batch_id)

    async def delete(self, batch_id: str, *, cancel: bool = False) -> None:
        """Delete a batch and everything in it: rows, results, dead letters. Raises `NotFound`.

        Raises `Unfinished` for an unfinished batch, unless `cancel` is set.
        """
        with translated():
            await steering.delete_batch(self._redis, batch_id, unfinished=cancel)

    async def pause(self, what: Target, name: str, *, route: Route | None = None) -> tuple[str, ...]:
        """Pause a lane, a batch or a worker: no new jobs are claimed until it is resumed, and running jobs continue.

        A lane is named by its model, for one route or all; a worker by its id, or by its name or host, which also
        applies to its successors. Returns what was not paused before. Raises `NotFound`.
        """
        with translated():
            return await pausing.pause(self._redis, pausing.Pausable(what), name, route)

    async def resume(self, what: Target, name: str, *, route: Route | None = None) -> tuple[str, ...]:
        """Resume it, immediately; returns what was paused before. Raises `NotFound` for an unknown batch."""
        with translated():
            return await pausing.resume(self._redis, pausing.Pausable(what), name, route)

    async def drain(self, worker: str) -> tuple[str, ...]:
        """Tell a worker, or all with that name, to end as on SIGTERM; returns their ids. Raises `NotFound`."""
        with translated():
            return await pausing.drain(self._redis, worker)

    async def batches(self, most: int = 50) -> list[BatchStatus]:
        """Unfinished batches, newest first, among the thousand most recent batches."""
        with translated():
            await self._housekeeping.maybe_sweep()
            return await reading.unfinished_batches(self._redis, most)

    async def finished_batches(self, most: int = 50) -> list[BatchStatus]:
        """The batches that ended last and are still kept, the newest end first, among the 10,000 newest batches."""
        with translated():
            await self._housekeeping.maybe_sweep()
            return await reading.finished_batches(self._redis, most)

    async def dead_letters(self) -> AsyncIterator[DeadLetter]:
        """Jobs that failed for good, with their requests, oldest first."""
        with translated():
            async for letter in dead.dead_letters(self._redis):
                yield letter

    async def dead_letter(self, job_id: str) -> DeadLetter:
        """One dead letter. Raises `NotFound`."""
        with translated():
            return await dead.dead_letter(self._redis, job_id)

    async def purge(self, job_ids: list[str] | None = None) -> int:
        """Delete these dead letters, or all; their results stay. Returns how many there were."""
        with translated():
            return await dead.purge(self._redis, job_ids)

    async def fleet(self) -> FleetStatus:
        """The live workers and the lanes."""
        with translated():
            return await read_fleet(self._redis)

    async def sharers(self, fleet: FleetStatus | None = None) -> list[LaneSharer]:
        """Which batches wait in which lanes, and what share of its lane each has; by lane, the greatest first.

        `fleet` is a status that was read just now, if there is one.
        """
        with translated():
            return await shares.read_sharers(self._redis, fleet or await read_fleet(self._redis))

    async def set_weight(self, owner: str, weight: float) -> None:
        """Give an owner's batches together this weight beside other owners and batches, each of which has 1.

        Raises `InvalidRequest` for a name or a weight that cannot be.
        """
        with translated():
            await shares.set_weight(self._redis, owner, weight)

    async def weights(self) -> dict[str, float]:
        """The weights that were set, by owner."""
        with translated():
            return await shares.read_weights(self._redis)

    @property
    def redis(self) -> ArqRedis:
        """The connection itself, for anything this class does not offer. Raises `NotConnected` outside `async with`."""
        return self._redis

    async def info(self) -> dict[str, Any]:
        """The output of Redis' INFO, for `doctor`."""
        with translated():
            info: dict[str, Any] = await self._redis.info()
            return info


__all__ = ["KEEP", "Order", "Producer", "Target"]
