"""How long one call may take.

    the caller's deadline     `OutOfTime`: it says nothing about the endpoint
    in all                    `CallTooLong`, however steadily bytes come (`AnswerLimits.seconds`)
    until it says something,
    and on to the next word   `StreamStopped` (the client's `timeout`): a model that thinks is silent for minutes, and
                              comments, pings and bytes without end keep a stream open that says nothing
    between two bytes         `StreamStopped` (`AnswerLimits.silence`), once the stream has said something

All but the first are httpx's `ReadTimeout`: the request may have been completed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from windfall_worker.cloud.answer_limits import AnswerLimits
from windfall_worker.cloud.options import CallOptions


class OutOfTime(Exception):
    """The caller's deadline has passed. It passes the breaker's guard without counting as anything."""


class CallTooLong(httpx.ReadTimeout):
    """The call took longer than any may, though bytes may have come all the time."""


class StreamStopped(httpx.ReadTimeout):
    """A stream did not go on. The message is what it did instead."""


class Pace:
    """The times of one call, in seconds on the event loop's clock."""

    def __init__(self, options: CallOptions, limits: AnswerLimits, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self.deadline = None if options.timeout is None else now + options.timeout  #: the caller's
        self.total = limits.seconds * options.allowance
        self._until = now + self.total
        self._word = timeout * options.allowance
        self._silence = min(limits.silence, timeout) * options.allowance
        self._moved_at = now
        self._speaks = False

    @property
    def left(self) -> float:
        """Seconds until the caller's deadline."""
        return float("inf") if self.deadline is None else self.deadline - self._loop.time()

    def sent(self) -> None:
        """The request is about to be sent, perhaps again."""
        self._moved_at = self._loop.time()

    def moved(self) -> None:
        """A stream has said something."""
        self._speaks = True
        self._moved_at = self._loop.time()

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Around one wait. Raises `OutOfTime` or `CallTooLong`."""
        first = self._until if self.deadline is None else min(self.deadline, self._until)
        try:
            async with asyncio.timeout_at(first) as limit:
                yield
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise self._why(first, first) from exc

    async def next_part(self, parts: AsyncIterator[bytes]) -> bytes | None:
        """The next bytes of a stream, or None at its end. Raises `OutOfTime`, `CallTooLong` or `StreamStopped`."""
        word = self._moved_at + self._word
        silence = self._loop.time() + self._silence if self._speaks else word
        first = min(word, silence, self._until, self.deadline or self._until)
        try:
            async with asyncio.timeout_at(first) as limit:
                return await anext(parts, None)
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise self._why(first, silence) from exc

    def _why(self, first: float, silence: float) -> Exception:
        """What it means that the time `first` has come."""
        if first == self.deadline:
            return OutOfTime()
        if first == self._until:
            return CallTooLong(f"not done within {self.total:g} s")
        if self._speaks and first == silence:
            return StreamStopped(f"fell silent for {self._silence:g} s in the middle of its answer")
        return StreamStopped(f"said nothing for {self._word:g} s")
