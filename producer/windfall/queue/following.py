"""Results in the order in which rows end, each once, also when Redis comes back without its last writes.

A cursor is the id of an entry of the batch's stream, and ids are Redis' time. A Redis that restarts from an older file
under a clock that is behind writes new entries below ids that were read already. So a cursor is believed for as long as
its entry is there; otherwise all is read again, and rows that were read are passed over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

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
_PAGE = 200
#: Milliseconds for which one blocking read of the stream waits.
_BLOCK = 1000


class Ends:
    """The rows of a batch as they end, from behind the cursor `after` on.

    A row is given once, and once more where it failed and was run again by hand.
    """

    def __init__(self, redis: ArqRedis, housekeeping: Housekeeping, batch_id: str, after: str, *, follow: bool) -> None:
        self._redis = redis
        self._housekeeping = housekeeping
        self._batch_id = batch_id
        self._stream = keys.BATCH + batch_id + keys.DONE_SUFFIX
        self._follow = follow
        self._cursor = after
        self._whole = _parts(after) == (0, 0)  #: whether what was given is all that has ended
        self._given = RowSet()
        self._failed = RowSet()
        self._checked: object = None  #: at which state of the batch all was read again last

    async def read(self) -> Found:
        """Results with their cursors; after an exception this goes on where it was. Raises `NotFound`."""
        client: Any = self._redis
        while True:
            await self._housekeeping.maybe_sweep()
            # Looked at before the stream: what ends in between is found by one more read.
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
        # Others can add to the stream: what names no row of the batch is passed over.
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
                continue  # it is being run again, and ends once more
            result = decode_result(data)
            if self._is_new(keys.row_of(name), result, run_again=taken is not None):
                yield self._cursor, result
        self._cursor = entries[-1][0].decode()

    def _is_new(self, row: int, result: CompletionResult, *, run_again: bool) -> bool:
        """Note a row; False where it was given already and nobody has run it again."""
        new = self._given.add(row) or (run_again and row in self._failed)
        if result.state is JobState.FAILED:
            self._failed.add(row)
        else:
            self._failed.discard(row)
        return new

    async def _lost(self, finished: int) -> bool:
        """Nothing is behind the cursor: whether there is something before it that has not been given."""
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
        return state != before  # a second time it would find no more than the first

    def _ask_for_cursor(self, pipe: Any) -> None:
        pipe.xrange(self._stream, min=self._cursor, max=self._cursor)

    def _is_gone(self, at_cursor: list[_Entry], taken: bytes | None) -> bool:
        """Whether Redis has lost the entry at the cursor. One that retry.lua took out is not newer than `taken`."""
        if at_cursor or _parts(self._cursor) == (0, 0):
            return False
        return _parts(self._cursor)[0] > as_number(taken)


def _parts(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number or 0)
