"""Checks the machine every few seconds, and holds new jobs back while a rule is against them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from windfall_worker.citizen.readings import Readings, Sensors
from windfall_worker.citizen.rules import Rule

logger = logging.getLogger("windfall.citizen")

#: Seconds between checks.
PERIOD: Final = 5.0
#: Checks for which a failing reading keeps its last value: a busy machine may be late with one.
_PATIENCE: Final = 3


def local_now() -> datetime:
    """The wall-clock time in the machine's current time zone: laptops travel."""
    time.tzset()
    return datetime.now().astimezone()


@dataclass(slots=True)
class _Watched:
    """A rule, and its state."""

    rule: Rule
    why: str | None = None
    unknown: int = 0
    well_since: float | None = None
    warned: bool = False

    def judge(self, readings: Readings, now: datetime, at: float) -> str | None:
        """The reason against new jobs, if any; `at` is the monotonic time."""
        if self.rule.reading and getattr(readings, self.rule.reading) is None:
            return self._judge_unknown()
        self.unknown = 0
        why = self.rule.against(readings, now, held=self.why is not None)
        if why is None and self.why is not None and self.rule.rest:
            self.well_since = at if self.well_since is None else self.well_since
            if at - self.well_since < self.rule.rest:
                return f"{self.why}, until a moment ago"
        self.why, self.well_since = why, None
        return why

    def _judge_unknown(self) -> str | None:
        self.unknown += 1
        if self.unknown > _PATIENCE:
            self.why = None
        if self.why is None and not self.warned:
            self.warned = True
            logger.warning("%s has no effect: this machine does not report what the rule depends on", self.rule.flag)
        return self.why


class Keeper:
    """Calls `pause` with the reasons against new jobs, and `resume` when there are none left."""

    def __init__(
        self,
        rules: Sequence[Rule],
        sensors: Sensors,
        pause: Callable[[str], None],
        resume: Callable[[], None],
        *,
        period: float = PERIOD,
    ) -> None:
        self._rules = [_Watched(rule) for rule in rules]
        self._wanted = frozenset(rule.reading for rule in rules if rule.reading)
        self._sensors = sensors
        self._pause = pause
        self._resume = resume
        self._period = period

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._period)

    async def look(self, now: Callable[[], datetime] = local_now, at: Callable[[], float] = time.monotonic) -> None:
        """Check once."""
        readings = await self._sensors.read(self._wanted) if self._wanted else Readings()
        instant, ticks = now(), at()
        reasons = [why for watched in self._rules if (why := watched.judge(readings, instant, ticks))]
        if reasons:
            self._pause("; ".join(reasons))
        else:
            self._resume()
