"""Writes the pieces of a completion to a Redis stream, where a follower finds all of them however late it joins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from arq import ArqRedis

from windfall.broker.connection import REDIS_ERRORS
from windfall.keys import DELTAS
from windfall.result import Delta
from windfall.runtime.tasks import cancel_all, wait_for

logger = logging.getLogger("windfall.deltas")

#: Seconds between writes: about 20 per second, whatever the engine's speed.
_PERIOD: Final = 0.05
#: Milliseconds for which an unfinished stream is kept; finish.lua sets how long it is kept after the end.
_LIFE: Final = 86_400_000
#: Seconds that a finished job waits for its last pieces to be written.
_LAST_WRITE: Final = 2.0


class DeltaWriter:
    """Coalesces the deltas of one attempt. A Redis outage may lose deltas, but never a job."""

    def __init__(self, redis: ArqRedis, job_id: str, attempt: int) -> None:
        self._redis: Any = redis
        self._key = DELTAS + job_id
        # A marker that invalidates what an earlier attempt wrote.
        self._pending: list[Delta] = [Delta(attempt=attempt)]
        self._ended = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def maybe(
        cls, redis: ArqRedis, job_id: str, attempt: int, *, wanted: bool
    ) -> AsyncIterator[DeltaWriter | None]:
        """A writer for the body, or None unless deltas are `wanted`."""
        if not wanted:
            yield None
            return
        writer = cls(redis, job_id, attempt)
        task = asyncio.create_task(writer._run())
        try:
            yield writer
        finally:
            writer._ended.set()
            await asyncio.wait([task], timeout=_LAST_WRITE)
            await cancel_all([task])

    def add(self, delta: Delta) -> None:
        """Add a piece; never blocks."""
        self._pending.append(delta)

    async def _run(self) -> None:
        while not self._ended.is_set():
            await self._write()
            await wait_for(self._ended, within=_PERIOD)
        await self._write()

    async def _write(self) -> None:
        pieces, self._pending = self._pending, []
        if not pieces:
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for piece in _coalesced(pieces):
                    pipe.xadd(self._key, {"d": piece.model_dump_json(exclude_defaults=True)})
                pipe.pexpire(self._key, _LIFE)
                await pipe.execute()
        except REDIS_ERRORS as exc:
            logger.warning("could not write deltas to %s: %s", self._key, exc)


def _coalesced(pieces: list[Delta]) -> list[Delta]:
    """The pieces, joined into as few deltas as possible: markers and pieces with extras stay separate."""
    joined: list[Delta] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        plain = piece.attempt is None and not piece.extra
        if last is not None and plain and last.attempt is None and not last.extra:
            joined[-1] = Delta(content=last.content + piece.content, reasoning=last.reasoning + piece.reasoning)
        else:
            joined.append(piece)
    return joined
