"""When a worker takes new jobs: each rule gives a reason against them, in words, or None. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from windfall_worker.citizen.hours import Hours
from windfall_worker.citizen.readings import Readings, Thermal

#: Percentage points by which a battery must rise above its limit again: otherwise each job would toggle the rule.
_HYSTERESIS: Final = 5


class Rule(ABC):
    """One rule."""

    flag: ClassVar[str]  #: the option that sets it
    reading: ClassVar[str | None] = None  #: the reading that it depends on
    rest: ClassVar[float] = 0.0  #: seconds without a reason before new jobs are taken again

    @abstractmethod
    def against(self, readings: Readings, now: datetime, *, held: bool) -> str | None:
        """The reason against new jobs, if any; `held`: whether this rule is holding them back already.

        An unknown reading (None) is no reason.
        """


@dataclass(frozen=True, slots=True)
class OnlyHours(Rule):
    """Work in these hours."""

    flag: ClassVar[str] = "--only"

    hours: tuple[Hours, ...]

    def against(self, readings: Readings, now: datetime, *, held: bool) -> str | None:  # noqa: ARG002 - the base's signature
        """The time is outside these hours."""
        return None if any(each.hold(now) for each in self.hours) else f"works {' and '.join(map(str, self.hours))}"


@dataclass(frozen=True, slots=True)
class OnAC(Rule):
    """Work on mains power."""

    flag: ClassVar[str] = "--on-ac"
    reading: ClassVar[str | None] = "on_ac"

    def against(self, readings: Readings, now: datetime, *, held: bool) -> str | None:  # noqa: ARG002 - the base's signature
        """The machine runs on its battery or a UPS."""
        return "on battery" if readings.on_ac is False else None


@dataclass(frozen=True, slots=True)
class AboveBattery(Rule):
    """Work while the battery is at least this full (percent), charging or not."""

    flag: ClassVar[str] = "--above-battery"
    reading: ClassVar[str | None] = "battery"

    percent: float

    def against(self, readings: Readings, now: datetime, *, held: bool) -> str | None:  # noqa: ARG002 - the base's signature
        """The battery is below the limit, or was and is not well above it yet."""
        if readings.battery is None:
            return None
        level = round(100 * readings.battery, 1)
        if level < self.percent:
            return f"battery at {level:g} %, below {self.percent:g} %"
        enough = min(self.percent + _HYSTERESIS, 100)
        return f"battery at {level:g} %, resumes at {enough:g} %" if held and level < enough else None


@dataclass(frozen=True, slots=True)
class BelowThermal(Rule):
    """Work while the machine is cooler than this."""

    flag: ClassVar[str] = "--below-thermal"
    reading: ClassVar[str | None] = "thermal"
    rest: ClassVar[float] = 60.0  # it heats up again at once if work resumes as soon as it is cool

    limit: Thermal

    def against(self, readings: Readings, now: datetime, *, held: bool) -> str | None:  # noqa: ARG002 - the base's signature
        """The machine is too hot."""
        heat = readings.thermal
        return f"thermal state {heat}, not below {self.limit}" if heat is not None and heat >= self.limit else None


@dataclass(frozen=True, slots=True)
class WhenIdle(Rule):
    """Work when the machine has not been touched for this many seconds."""

    flag: ClassVar[str] = "--when-idle"
    reading: ClassVar[str | None] = "idle_seconds"

    seconds: float

    def against(self, readings: Readings, now: datetime, *, held: bool) -> str | None:  # noqa: ARG002 - the base's signature
        """The machine was touched more recently."""
        idle = readings.idle_seconds
        if idle is None or idle >= self.seconds:
            return None
        return f"the user was here {_in_words(idle)} ago, waits for {_in_words(self.seconds)}"


def _in_words(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"
