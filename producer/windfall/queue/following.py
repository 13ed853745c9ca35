"""Results in order of completion, each once, even when Redis comes back without its last writes.

A cursor is the id of an entry in the batch's stream, and ids are Redis' time. A Redis that restarts from an older file
with a clock that is behind writes new entries below ids that were already read. So a cursor is trusted only while its
entry exists; otherwise the whole stream is read again, and rows that were already given are skipped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from arq import ArqRedis

from windfall import keys
from windfall.queue.housekeeping import Housekeeping
from windfall.queue.quarantine import number as as_number
from windfall.queue.quarantine import rows_of
from windfall.queue.reading import batch
from windfall.queue.row_set import RowSet
from windfall.result import CompletionResult, JobState
from windfall.wire import decode_result

Found = AsyncIterator[tuple[str, CompletionResult]]
_Entry = tuple[bytes, dict[bytes, bytes]]

#: Results fetched in one round trip.
_PAGE: Final = 200
#: Milliseconds that one blocking read of the stream waits.
_BLOCK: Final = 1000


class Ends:
    """The rows of a batch as they end, after the cursor `after`.

    A row is given once, and once more if it failed and was retried.
    """

    def __init__(self, redis: ArqRedis, housekeeping: Housekeeping, batch_id: str, after: str, *, follow: bool) -> None:
        self._redis = redis
        self._housekeeping = housekeeping
        self._batch_id = batch_id
        self._stream = keys.BATCH + batch_id + keys.DONE_SUFFIX
        self._follow = follow
        self._cursor = after
        self._whole = _parts(after) == (0, 0)  #: whether everything that has ended was given
        self._given = RowSet()
        self._failed = RowSet()
        self._checked: object = None  #: the state of the batch at the last full read

    async def read(self) -> Found:
        """Results with their cursors; after an exception, call again to resume. Raises `NotFound`."""
        client: Any = self._redis
        while True:
            await self._housekeeping.maybe_sweep()
            # Read before the stream: one more read finds what ends in between.
            status = await batch(self._redis, self._batch_id)
            block = {"block": _BLOCK} if self._follow and not status.done else {}
            page = await client.xread({self._stream: self._cursor}, count=_PAGE, **block)
            if page:
                async for found in self._results(page[0][1]):
                    yield found
            elif await self._lost(status.finished):
                self._cursor = "0"
            elif status.done or not self._follow:
                return

    async def _results(self, entries: list[_Entry]) -> Found:
        client: Any = self._redis
        # Others can write to the stream: entries that name no row of the batch are skipped.
        rows = [(entry, name) for entry, fields in entries for name in rows_of(self._batch_id, [fields.get(b"i")])]
        async with client.pipeline(transaction=False) as pipe:
            self._ask_for_cursor(pipe)
            pipe.hget(keys.BATCH + self._batch_id, "taken")
            if rows:
                pipe.mget([keys.RESULT + name for _, name in rows])
            at_cursor, taken, *found = await pipe.execute()
        if self._is_gone(at_cursor, taken):
            self._cursor = "0"
            return
        for (entry, name), data in zip(rows, found[0] if found else (), strict=True):
            self._cursor = entry.decode()
            if data is None:
                continue  # it is being retried, and will end again
            result = decode_result(data)
            if self._is_new(keys.row_of(name), result, run_again=taken is not None):
                yield self._cursor, result
        self._cursor = entries[-1][0].decode()

    def _is_new(self, row: int, result: CompletionResult, *, run_again: bool) -> bool:
        """Note a row; False if it was already given and has not been retried."""
        new = self._given.add(row) or (run_again and row in self._failed)
        if result.state is JobState.FAILED:
            self._failed.add(row)
        else:
            self._failed.discard(row)
        return new

    async def _lost(self, finished: int) -> bool:
        """Nothing follows the cursor: whether something before it has not been given."""
        client: Any = self._redis
        async with client.pipeline(transaction=False) as pipe:
            self._ask_for_cursor(pipe)
            pipe.hget(keys.BATCH + self._batch_id, "taken")
            pipe.xrevrange(self._stream, count=1)
            at_cursor, taken, newest = await pipe.execute()
        if not self._is_gone(at_cursor, taken) and not (self._whole and finished > len(self._given)):
            return False
        state = (finished, newest[0][0] if newest else None)
        before, self._checked = self._checked, state
        return state != before  # in the same state a second read would find nothing new

    def _ask_for_cursor(self, pipe: Any) -> None:
        pipe.xrange(self._stream, min=self._cursor, max=self._cursor)

    def _is_gone(self, at_cursor: list[_Entry], taken: bytes | None) -> bool:
        """Whether Redis has lost the entry at the cursor. One that retry.lua removed is not newer than `taken`."""
        if at_cursor or _parts(self._cursor) == (0, 0):
            return False
        return _parts(self._cursor)[0] > as_number(taken)


def _parts(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number or 0)
