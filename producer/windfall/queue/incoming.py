"""Rows as they arrive from their source, which may be slow.

An async iterable is read by a task, a few rows ahead, and never blocks the consumer. A plain one is read in the
consumer's thread: it may belong to that thread, as a SQLite cursor does, or depend on the caller's context. It blocks
the event loop for as long as a row takes; if that is long, earlier rows are sent first. A source of our own that
blocks, such as a pipe, is read by `in_thread`. That thread is a daemon: if its source blocks, the program can still
exit.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol

from windfall.row import Row
from windfall.runtime.tasks import cancel_all, wait_for

#: Rows read ahead; each may be as large as the limit allows.
_AHEAD: Final = 16

#: Seconds that a row of a plain iterable may take before the rows ahead of it are sent on their own.
_SLOW: Final = 0.1

#: Seconds after which the consumer of a thread's rows looks again.
_LOOK_AGAIN: Final = 60.0


class Incoming(Protocol):
    """Rows, one after the other."""

    async def take(self, within: float) -> Row | None:
        """The next row, or None if none arrived within that many seconds or the next may take long: time to send what
        has arrived. Raises `StopAsyncIteration` at the end.

        Exceptions of the source are raised here.
        """


@asynccontextmanager
async def incoming(rows: Iterable[Row] | AsyncIterable[Row]) -> AsyncIterator[Incoming]:
    """Read rows while the body runs."""
    if isinstance(rows, AsyncIterable):
        handed = _Handed()
        task = asyncio.create_task(_read(rows, handed))
        try:
            yield handed
        finally:
            await cancel_all([task])
    else:
        yield _Here(rows)


class _Here:
    """Rows that are read in the thread of the event loop."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = iter(rows)
        self._slow = False  #: whether the last row was waited for

    async def take(self, within: float) -> Row | None:  # noqa: ARG002 - how long a row takes is its source's to say
        if self._slow:
            self._slow = False
            return None  # the next one may be waited for as well
        began = time.monotonic()
        for row in self._rows:
            self._slow = time.monotonic() - began >= _SLOW
            return row
        raise StopAsyncIteration


async def in_thread(rows: Iterable[Row]) -> AsyncIterator[Row]:
    """The rows of a source that blocks and is bound to no thread, read by a separate thread."""
    handed = _Handed()
    reader = threading.Thread(target=_read_in_thread, args=(rows, handed), name="windfall-rows", daemon=True)
    reader.start()
    try:
        while True:
            try:
                row = await handed.take(_LOOK_AGAIN)
            except StopAsyncIteration:
                return
            if row is not None:
                yield row
    finally:
        handed.close()


class _Handed:
    """A bounded buffer between a reader (a task or a thread) and the consumer."""

    def __init__(self) -> None:
        self._rows: deque[Row | BaseException] = deque()
        self._loop = asyncio.get_running_loop()
        self._come = asyncio.Event()
        self._room = asyncio.Event()
        self._room_in_thread = threading.Semaphore(_AHEAD)
        self._waiting = False
        self._closed = False

    async def take(self, within: float) -> Row | None:
        if not self._rows:
            await self._next(within)
        if not self._rows:
            return None
        row = self._rows.popleft()
        if isinstance(row, BaseException):
            raise row
        self._room.set()
        self._room_in_thread.release()
        return row

    async def _next(self, within: float) -> None:
        self._come.clear()
        self._waiting = True
        try:
            # Check again: a row added before we registered as waiting woke nobody up.
            if not self._rows:
                await wait_for(self._come, within=within)
        finally:
            self._waiting = False

    async def put(self, row: Row) -> None:
        """For a task: add a row as soon as there is room."""
        while len(self._rows) >= _AHEAD:
            self._room.clear()
            await self._room.wait()
        self._rows.append(row)
        self._come.set()

    def end(self, why: BaseException) -> None:
        """For a task: no more rows follow; `exc` is raised after the last one."""
        self._rows.append(why)
        self._come.set()

    def put_from_thread(self, row: Row) -> bool:
        """For a thread: add a row as soon as there is room; False once the consumer has stopped."""
        self._room_in_thread.acquire()
        return self._hand_over(row)

    def end_from_thread(self, why: BaseException) -> None:
        """For a thread, as `end`."""
        self._hand_over(why)

    def close(self) -> None:
        """The consumer has stopped: a thread waiting for room ends."""
        self._closed = True
        self._room_in_thread.release()

    def _hand_over(self, row: Row | BaseException) -> bool:
        if self._closed:
            return False
        self._rows.append(row)
        if self._waiting:
            with suppress(RuntimeError):  # the loop was closed in the meantime
                self._loop.call_soon_threadsafe(self._come.set)
        return True


async def _read(rows: AsyncIterable[Row], handed: _Handed) -> None:
    try:
        async for row in rows:
            await handed.put(row)
    except BaseException as exc:
        handed.end(exc)  # raised where the rows are taken
        if not isinstance(exc, Exception):
            raise
    else:
        handed.end(StopAsyncIteration())


def _read_in_thread(rows: Iterable[Row], handed: _Handed) -> None:
    end: BaseException = StopAsyncIteration()
    try:
        for row in rows:
            if not handed.put_from_thread(row):
                return
    except BaseException as exc:  # noqa: BLE001 - raised where the rows are taken
        end = exc
    handed.end_from_thread(end)
