"""One call's way through the rate limiter of its endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from windfall.errors import RateLimited
from windfall_worker.cloud.rate_headers import limits_told
from windfall_worker.guards.limits import Admission, Need
from windfall_worker.guards.rate_limit import RateLimiter

#: Seconds that a call waits to be sent again. One that would wait longer comes back from the queue.
_PATIENCE_AGAIN: Final = 20.0


class Passage:
    """Reserves what one call needs, each time that it is sent, and reports what its answers say.

    A client that does not ask for admission (a subclass that sends by itself) reports all the same.
    """

    def __init__(self, limiter: RateLimiter, need: Need) -> None:
        self._limiter = limiter
        self._need = need
        self._admission = Admission(need)
        self._reserved = False
        self.was_refused = False  #: whether the last answer was a refusal for the rate

    async def enter(self, patience: float) -> None:
        """Wait for the call's turn. Raises `RateLimited` if that is further away than `patience` seconds."""
        self._admission = await self._limiter.admit(self._need, patience=patience)
        self._reserved = True

    async def enter_again(self) -> bool:
        """Wait for the turn to be sent once more, before calls that have not been sent. False: it is too far away."""
        try:
            self._admission = await self._limiter.admit(self._need, patience=_PATIENCE_AGAIN, again=True)
        except RateLimited:
            return False
        self._reserved = True
        return True

    def sent(self) -> None:
        """Note that the request goes out: what was reserved is used."""
        self._reserved = self.was_refused = False

    def leave(self) -> None:
        """Give back what was reserved for a request that did not go out."""
        if self._reserved:
            self._limiter.give_back(self._admission)
            self._reserved = False

    def went_well(self, headers: Mapping[str, str]) -> None:
        """Note a success."""
        self._limiter.went_well(self._admission, limits_told(headers))

    def failed(self, headers: Mapping[str, str]) -> None:
        """Note a failure that has nothing to do with the rate."""
        self._limiter.hear(self._admission, limits_told(headers))

    async def refused(self, headers: Mapping[str, str], retry_after: float | None) -> None:
        """Note a refusal for the rate."""
        self.was_refused = True
        await self._limiter.refused(self._admission, limits_told(headers), retry_after)
