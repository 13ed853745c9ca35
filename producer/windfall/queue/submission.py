"""Adding the rows of a batch to Redis: in chunks, in constant memory, idempotently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from arq import ArqRedis

from windfall.batch import BatchStatus
from windfall.broker.clock import RedisClock
from windfall.broker.connection import translated
from windfall.errors import BatchCancelled, BatchFull, IdTaken, InvalidRequest
from windfall.keys import LANES, job_id, lane_queue
from windfall.limits import Limits
from windfall.placement import check_placement, lane_route
from windfall.queue.incoming import Incoming, incoming
from windfall.queue.patience import patiently
from windfall.queue.resubmission import Resubmission
from windfall.request import CompletionRequest
from windfall.result import CompletionResult, ErrorInfo, JobState, Timings
from windfall.row import InvalidRow, Row
from windfall.scripts import Arg, Script, Step, run_all
from windfall.telemetry.tracing import carrier
from windfall.wire import encode_job, encode_result

#: Rows and bytes of one round trip: large enough to hide its latency, small enough not to block Redis.
CHUNK_ROWS = 500  # not Final: a fault test shortens it
CHUNK_BYTES: Final = 4 * 1024 * 1024

#: Seconds after which a chunk is sent even if it is not full: the source may be slow.
_PERIOD: Final = 1.0

#: Rows that are compared with the batch's in one go.
COMPARED_ROWS: Final = 100


@dataclass(slots=True)
class _Chunk:
    """Rows to be sent, by lane. `interactive` ones go before all others."""

    interactive: bool
    jobs: dict[str, list[str | bytes | int]] = field(default_factory=dict)
    rejected: list[str | bytes] = field(default_factory=list)
    rows: int = 0
    size: int = 0

    @property
    def full(self) -> bool:
        return self.rows >= CHUNK_ROWS or self.size >= CHUNK_BYTES

    def steps(self, batch_id: str) -> list[Step]:
        head: list[Arg] = [batch_id, int(self.interactive)]
        steps = [Step(Script.ENQUEUE, [lane], [*head, *args]) for lane, args in self.jobs.items()]
        if self.rejected:
            steps.append(Step(Script.REJECT, [], [batch_id, *self.rejected]))
        return steps


class Submission:
    """Adds rows to one batch. Rows that are already there are left alone, so adding them again does no harm.

    `batch` is its status when it was opened.
    """

    def __init__(self, redis: ArqRedis, clock: RedisClock, batch: BatchStatus, limits: Limits) -> None:
        self._redis = redis
        self._clock = clock
        self._batch_id = batch.id
        self._priority = batch.priority
        self._interactive = batch.interactive
        self._limits = limits
        self._deadline_ms = None if batch.deadline_at is None else round(batch.deadline_at * 1000)
        self._there = Resubmission(redis, batch.id, batch.last_row)
        self._trace = carrier()
        self._chunk = _Chunk(self._interactive)
        self._again: list[Row] = []  #: rows that the batch should have, not yet compared
        self._again_size = 0  #: bytes
        self._due = 0.0  #: when the next chunk goes out although it is not full (the event loop's time)
        self.rows = 0  #: rows read so far
        self.added = 0  #: rows that were new

    async def add(
        self, rows: Iterable[Row] | AsyncIterable[Row], on_progress: Callable[[int], None] | None = None
    ) -> None:
        """Add all rows. `on_progress` gets the number of rows added or found so far after every round trip.

        Raises `BatchDiffers` if the batch has a different row in the place of one of these; then none is added.
        """
        loop = asyncio.get_running_loop()
        self._due = loop.time() + _PERIOD
        async with incoming(rows) as source:
            async for row in self._each(source):
                if row is not None:
                    await self._add(row)
                if row is None or self._chunk.full or loop.time() >= self._due:
                    # What the batch lacks waits until it is known that the batch has no other rows than these.
                    held = self.rows < self._there.last_row and not self._chunk.full
                    await self._send(([] if held else self._gathered()) or [self._still_here()])
                    self._due = loop.time() + _PERIOD
                    if on_progress:
                        on_progress(self.rows)
        await self._compare()
        self._there.check()
        await self._send(self._gathered())
        if on_progress:
            on_progress(self.rows)

    async def _each(self, source: Incoming) -> AsyncIterator[Row | None]:
        """Every row, and None when what is gathered is to be sent before the next."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                row = await source.take(max(self._due - loop.time(), 0.0))
            except StopAsyncIteration:
                return
            yield row

    async def _add(self, row: Row) -> None:
        if self.rows == self._limits.batch_rows:
            await self._compare()
            self._there.check()
            await self._send(self._gathered())
            raise BatchFull(
                f"batch {self._batch_id} has {self.rows:,} rows, the most a batch may have (setting max_batch_rows); "
                "these run; submit the rest as another batch"
            )
        self.rows += 1
        row = _placeable(row, self.rows)
        if self.rows > self._there.last_row:
            await self._take(self.rows, row)
            return
        self._again.append(row)
        self._again_size += _size(row)
        full = len(self._again) == COMPARED_ROWS or self._again_size >= CHUNK_BYTES
        if full or self.rows == self._there.last_row:
            await self._compare()

    async def _compare(self) -> None:
        """Take those that the batch lacks of the rows that it should have."""
        rows, self._again, self._again_size = self._again, [], 0
        first = self.rows - len(rows) + 1
        lacking = await patiently(lambda: self._lacking(first, rows)) if rows else []
        if self.rows >= self._there.last_row:
            self._there.check()
        for number, row in lacking:
            await self._take(number, row)

    async def _lacking(self, first: int, rows: list[Row]) -> list[tuple[int, Row]]:
        with translated():
            return await self._there.missing(first, rows)

    def _gathered(self) -> list[Step]:
        chunk, self._chunk = self._chunk, _Chunk(self._interactive)
        return chunk.steps(self._batch_id)

    def _still_here(self) -> Step:
        """Signals that the source of this batch is only slow, so that the batch is not removed as abandoned."""
        return Step(Script.ENQUEUE, [LANES], [self._batch_id, 0])

    async def _take(self, number: int, row: Row) -> None:
        name = job_id(self._batch_id, number)
        chunk = self._chunk
        if not self._clock.is_fresh:
            await patiently(self._read_clock)
        now_ms = round(self._clock.carried() * 1000)
        if isinstance(row, CompletionRequest):
            row = self._in_time(row, now_ms)
            payload = encode_job(row, now_ms, self._trace, interactive=self._interactive)
            error = self._limits.too_large(len(payload))
            if error is None:
                priority = row.priority if "priority" in row.model_fields_set else self._priority
                job = (name, priority, deadline_of(row, now_ms), payload)
                chunk.jobs.setdefault(lane_queue(row.model, lane_route(row)), []).extend(job)
                chunk.size += len(payload)
                chunk.rows += 1
                return
            row = InvalidRow(row.custom_id, number, error)
        rejected = encode_result(rejection(name, row, now_ms / 1000), "")
        chunk.rejected += [name, rejected]
        chunk.size += len(rejected)
        chunk.rows += 1

    def _in_time(self, row: CompletionRequest, now_ms: int) -> CompletionRequest:
        """The row with what is left of the batch's deadline, unless its own comes earlier."""
        if self._deadline_ms is None:
            return row
        left = max(self._deadline_ms - now_ms, 1) / 1000
        if row.deadline is not None and row.deadline <= left:
            return row
        return row.model_copy(update={"deadline": left})

    async def _send(self, steps: list[Step]) -> None:
        """Send the gathered rows; an outage is only a delay, because every step can be repeated."""
        if steps:
            self.added += await patiently(lambda: self._try(steps))

    async def _read_clock(self) -> None:
        with translated():
            await self._clock.now()

    async def _try(self, steps: list[Step]) -> int:
        task = asyncio.current_task()
        cancellations = task.cancelling() if task else 0
        with translated():
            answers = await run_all(self._redis, steps)
            if task and task.cancelling() > cancellations:
                raise asyncio.CancelledError  # redis-py can swallow a cancellation inside its timeouts
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        if -1 in answers:
            raise BatchCancelled(f"batch {self._batch_id} was cancelled and accepts no more rows")
        if -3 in answers:
            raise IdTaken(
                f"a row of batch {self._batch_id} cannot be added: another program's job has its id; "
                "submit again under another batch id"
            )
        if -2 in answers:
            raise BatchCancelled(f"batch {self._batch_id} no longer exists: it was deleted while rows were being added")
        return sum(answers)


def _placeable(row: Row, number: int) -> Row:
    """The row, or why no route may take it."""
    if isinstance(row, CompletionRequest):
        try:
            check_placement(row)
        except InvalidRequest as exc:
            return InvalidRow(row.custom_id, number, exc)
    return row


def _size(row: Row) -> int:
    """About how many bytes it has."""
    return len(row.model_dump_json(exclude_defaults=True)) if isinstance(row, CompletionRequest) else 0


def rejection(name: str, row: InvalidRow, now: float) -> CompletionResult:
    """The result of a row that cannot become a job. `now` is in Unix seconds."""
    return CompletionResult(
        job_id=name,
        state=JobState.FAILED,
        model="",
        custom_id=row.custom_id,
        error=ErrorInfo(type="invalid_request", message=str(row.error), param=row.error.field),
        timings=Timings(enqueued_at=now, finished_at=now),
    )


def deadline_of(request: CompletionRequest, enqueued_ms: int) -> int:
    """When a request enqueued at that time is overdue (Unix milliseconds), or 0."""
    return 0 if request.deadline is None else enqueued_ms + round(request.deadline * 1000)


async def enqueue_one(
    redis: ArqRedis, clock: RedisClock, request: CompletionRequest, name: str, limits: Limits, *, interactive: bool
) -> None:
    """Add a single job, without a batch, to its lane.

    Raises `InvalidRequest` if it is too large, or has the route `local` and no Mac can run it.
    """
    check_placement(request)
    now_ms = await clock.now_ms()
    payload = encode_job(request, now_ms, carrier(), interactive=interactive)
    error = limits.too_large(len(payload))
    if error is not None:
        raise error
    job: list[Arg] = ["", int(interactive), name, request.priority, deadline_of(request, now_ms), payload]
    (answer,) = await run_all(redis, [Step(Script.ENQUEUE, [lane_queue(request.model, lane_route(request))], job)])
    if isinstance(answer, Exception):
        raise answer
