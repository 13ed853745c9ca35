"""Endpoints that refuse our key or whose account is empty: the fleet leaves them alone, and jobs wait.

Neither passes by itself, and it concerns every call, so no job may die of it. Calls begin again when a probe, of which
there is one every ten minutes, ends well; when a person closes the endpoint's breaker; or with another key.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from windfall.errors import AuthenticationFailed, BackendError, QuotaExhausted
from windfall.keys import PARKED_ENDPOINTS
from windfall_worker.guards.parked import LIFT
from windfall_worker.guards.redis_link import RedisLink
from windfall_worker.guards.scripts import guard_script

logger = logging.getLogger("windfall.cloud")

_NOTE: Final = guard_script("parking_note")
_LOOK: Final = guard_script("parking_look")

#: What a person can do about a parked endpoint.
MEND: Final = (
    "Set a working key and restart the worker, or add credit and run windfall breaker close {name}; "
    "one call is tried every 10 minutes"
)
#: Seconds between probes.
PROBE_EVERY: Final = 600.0
#: Seconds for which a job goes back to its lane, where others may claim it.
_BACK: Final = 30.0
#: A 403 may be about one request; so many in a row are about the key.
_FORBIDDEN: Final = 3


class Parked(BackendError):
    """No call was made, or it was refused for a reason that is not the job's: the key, or the account."""

    type = "parked"


class Parking:
    """Whether one endpoint (`name`) is parked for one key (`digest`), for the whole fleet.

    Without Redis it is so for this process. `clock` is how times go by here (seconds).
    """

    def __init__(
        self,
        name: str,
        link: RedisLink | None,
        digest: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._link = link
        self._digest = digest
        self._field = f"{digest}:{name}"
        self._clock = clock
        self._reason: str | None = None
        self._probe_at = 0.0
        self._forbidden = 0

    @property
    def active(self) -> bool:
        """Whether calls are refused now, as far as this process knows."""
        return self._reason is not None and self._clock() < self._probe_at

    @property
    def reason(self) -> str | None:
        """Why it is parked, as far as this process knows; None if it is not."""
        return self._reason

    @property
    def in_words(self) -> str:
        """The same for a person, with what to do about it."""
        return f"no calls to {self.name}: {self._reason}. {MEND.format(name=self.name)}"

    async def arrive(self) -> None:
        """Begin to use it: what other keys were refused for is over."""
        if self._link:
            await self._link.call(LIFT, [PARKED_ENDPOINTS], [self.name, self._digest, "0"])
        await self.look()

    async def look(self) -> None:
        """Ask Redis."""
        await self._ask(probe=False)

    def check(self) -> None:
        """Raise `Parked` if it is so, as far as this process knows."""
        if self.active:
            raise self._refusal()

    async def admit(self) -> bool:
        """Let a call pass, or raise `Parked`. Returns whether it is the probe."""
        if self._reason is None:
            return False
        if self.active or not await self._ask(probe=True):
            if self._reason is None:
                return False
            raise self._refusal()
        return True

    async def note(self, error: BackendError) -> Parked | None:
        """Note how a call failed. Returns what the job gets instead if that parks the endpoint."""
        if not isinstance(error, (AuthenticationFailed, QuotaExhausted)):
            return None
        if error.status == 403:
            self._forbidden += 1
            if self._forbidden < _FORBIDDEN and self._reason is None:
                return None
        first, self._reason = self._reason is None, str(error)
        self._probe_at = self._clock() + PROBE_EVERY
        if self._link:
            await self._link.call(_NOTE, [PARKED_ENDPOINTS], [self._field, self._reason, round(PROBE_EVERY * 1000)])
        if first:
            logger.error("jobs wait, or take another backend: %s", self.in_words)
        return self._refusal()

    async def worked(self) -> None:
        """Note a call that the key and the account were good for."""
        self._forbidden = 0
        if self._reason is None:
            return
        self._reason = None
        logger.warning("%s takes our calls again", self.name)
        if self._link:
            await self._link.call(LIFT, [PARKED_ENDPOINTS], [self.name, self._digest, "1"])

    async def _ask(self, *, probe: bool) -> bool:
        """Ask Redis whether calls may be made; if `probe`, be the probe when one is due. Returns whether that is so."""
        answer = None
        if self._link:
            given: list[str | int] = [self._field, round(PROBE_EVERY * 1000), int(probe)]
            answer = await self._link.call(_LOOK, [PARKED_ENDPOINTS], given)
        now = self._clock()
        if answer is None:
            if probe:
                self._probe_at = now + PROBE_EVERY
            return probe
        if answer[0] == 0:
            self._reason = None
        elif answer[0] == 1:
            self._reason = answer[2].decode() if isinstance(answer[2], bytes) else str(answer[2])
            self._probe_at = now + int(answer[1]) / 1000
        return bool(answer[0] == 2)

    def _refusal(self) -> Parked:
        return Parked(f"no calls are made to {self.name}: {self._reason}", retry_after=_BACK)
