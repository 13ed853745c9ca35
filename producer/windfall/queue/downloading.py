"""Downloading a batch's results, resumably: in order of completion (`following.py`) or of the input (`_by_row`)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from arq import ArqRedis

from windfall import keys
from windfall.broker.connection import REDIS_ERRORS, is_passing
from windfall.errors import InvalidRequest
from windfall.queue.following import Ends, Found
from windfall.queue.housekeeping import Housekeeping
from windfall.queue.quarantine import rows_of
from windfall.queue.reading import batch, batch_and_results
from windfall.result import CompletionResult
from windfall.wire import decode_result

#: Results fetched in one round trip, and stream entries where only those are read.
_PAGE, _ENTRIES = 200, 1000
#: Milliseconds that one blocking read of a stream waits.
_BLOCK: Final = 1000
#: Seconds of an outage that a download survives, and seconds between its attempts.
PATIENCE, _PAUSE = 30.0, 0.25

_Reader = Callable[[str], Found]


async def by_end(
    redis: ArqRedis, housekeeping: Housekeeping, batch_id: str, after: str, *, follow: bool
) -> AsyncIterator[tuple[str, CompletionResult]]:
    """Results with their cursors in order of completion, after the cursor `after`; raises `NotFound`."""

    _check_cursor(after, after.replace("-", "", 1))
    ends = Ends(redis, housekeeping, batch_id, after, follow=follow)
    async for found in _through_outages(lambda _: ends.read(), after):
        yield found


async def by_row(
    redis: ArqRedis, housekeeping: Housekeeping, batch_id: str, after: str, *, follow: bool
) -> AsyncIterator[tuple[str, CompletionResult]]:
    """Results in input order; the cursor is a row's number. Raises `NotFound`."""

    async def read(cursor: str) -> Found:
        async for found in _by_row(redis, housekeeping, batch_id, int(cursor), follow=follow):
            yield found

    _check_cursor(after, after)
    async for found in _through_outages(read, after):
        yield found


def _check_cursor(cursor: str, digits: str) -> None:
    if not (digits.isascii() and digits.isdigit() and len(digits) < 40):
        raise InvalidRequest(f"{cursor!r} is not a cursor of these results: use one that was printed, or 0")


async def _through_outages(read: _Reader, after: str) -> Found:
    """Resume after the last result when the connection is lost; each result comes once."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + PATIENCE
    while True:
        try:
            async for found in read(after):
                after = found[0]
                yield found
                give_up = loop.time() + PATIENCE
        except REDIS_ERRORS as exc:
            if not is_passing(exc) or loop.time() > give_up:
                raise
            await asyncio.sleep(_PAUSE)
        else:
            return


async def _by_row(redis: ArqRedis, housekeeping: Housekeeping, batch_id: str, row: int, *, follow: bool) -> Found:
    """Keeps at most a page of results that arrived out of order, so that none is fetched twice."""
    client: Any = redis
    ended = _Ended(client, keys.BATCH + batch_id + keys.DONE_SUFFIX)
    ahead: dict[int, bytes] = {}
    while True:
        await housekeeping.maybe_sweep()
        await ended.look()
        last = min(row + _PAGE, (await batch(redis, batch_id)).last_row)
        wanted = [n for n in range(row + 1, last + 1) if n not in ahead]
        # All at one instant: a row of a finished batch may have been run again in between.
        status, found = await batch_and_results(redis, batch_id, [keys.job_id(batch_id, n) for n in wanted])
        ahead |= {n: data for n, data in zip(wanted, found, strict=True) if data is not None}
        before = row
        # In a finished batch, a row without a result was never added.
        while row + 1 in ahead or (status.done and row < last):
            row += 1
            if row in ahead:
                yield str(row), decode_result(ahead.pop(row))
        if status.done and row >= status.last_row:
            return
        if row == before and row == last < status.last_row:
            continue  # more rows were added between the two reads
        if row == before:
            if not follow:
                return
            await ended.wait()


class _Ended:
    """Waits until another row of a batch has ended: any row, because the stream has them in order of completion."""

    def __init__(self, client: Any, stream: str) -> None:
        self._client = client
        self._stream = stream
        self._last: bytes | str | None = None

    async def look(self) -> None:
        """Note the end of the stream before looking for results."""
        if self._last is None:
            newest = await self._client.xrevrange(self._stream, count=1)
            self._last = newest[0][0] if newest else "0"

    async def wait(self) -> None:
        """Wait until something has been added since the last look, or for a second."""
        page = await self._client.xread({self._stream: self._last}, count=_ENTRIES, block=_BLOCK)
        if page:
            self._last = page[0][1][-1][0]


async def failures(redis: ArqRedis, batch_id: str, after: str) -> tuple[str, Counter[str]]:
    """Count the failed rows after the cursor `after` by error type; returns that and the next cursor."""
    client: Any = redis
    cursor, kinds = after, Counter[str]()
    while page := await client.xread({keys.BATCH + batch_id + keys.DONE_SUFFIX: cursor}, count=_ENTRIES):
        cursor = page[0][1][-1][0].decode()
        failed = rows_of(batch_id, [fields.get(b"i") for _, fields in page[0][1] if fields.get(b"s") == b"failed"])
        for data in await client.mget([keys.RESULT + row for row in failed]) if failed else ():
            error = decode_result(data).error if data else None
            kinds[error.type if error else "unknown"] += 1
    return cursor, kinds
