"""A line of tasks that wait: one at a time has its turn, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Line:
    """First come, first served; whoever has waited before goes to the front."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._busy = False

    def __len__(self) -> int:
        """How many are in it, the one whose turn it is included."""
        return sum(not place.done() for place in self._waiting) + self._busy

    @asynccontextmanager
    async def turn(self, *, first: bool = False) -> AsyncIterator[None]:
        """Wait for the turn; it ends with the block."""
        if self._busy:
            place = asyncio.get_running_loop().create_future()
            (self._waiting.appendleft if first else self._waiting.append)(place)
            try:
                await place
            except asyncio.CancelledError:
                if not place.cancelled():
                    self._next()  # its turn had just come
                raise
        self._busy = True
        try:
            yield
        finally:
            self._next()

    def _next(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():  # otherwise its task was cancelled
                place.set_result(None)
                return
        self._busy = False
