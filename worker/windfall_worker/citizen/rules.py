"""When a worker takes new jobs: each rule tells the reason against it, in words, or None. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from windfall_worker.citizen.hours import Hours
from windfall_worker.citizen.readings import Readings, Thermal

#: Points by which a battery that was too low must be above its limit again: else each job would move it to and fro.
_HYSTERESIS: Final = 5


class Rule(ABC):
    """One rule."""

    flag: ClassVar[str]  #: how it is set
    reading: ClassVar[str | None] = None  #: which of the readings it goes by
    rest: ClassVar[float] = 0.0  #: seconds for which nothing must have been against it before it gives way

    @abstractmethod
    def against(self, readings: Readings, now: datetime, *, held: bool) -> str | None:
        """The reason against new jobs; `held`: whether this rule holds them back already.

        Where its reading is None it has none.
        """


@dataclass(frozen=True, slots=True)
class OnlyHours(Rule):
    """Work in these hours."""

    flag: ClassVar[str] = "--only"

    hours: tuple[Hours, ...]

    def against(self, readings: Readings, now: datetime, *, held: bool) -> str | None:  # noqa: ARG002 - a rule's form
        """It is another hour."""
        return None if any(each.hold(now) for each in self.hours) else f"works {' and '.join(map(str, self.hours))}"


@dataclass(frozen=True, slots=True)
class OnAC(Rule):
    """Work on mains power."""

    flag: ClassVar[str] = "--on-ac"
    reading: ClassVar[str | None] = "on_ac"

    def against(self, readings: Readings, now: datetime, *, held: bool) -> str | None:  # noqa: ARG002 - a rule's form
        """It runs on its battery, or a UPS."""
        return "on battery" if readings.on_ac is False else None


@dataclass(frozen=True, slots=True)
class AboveBattery(Rule):
    """Work while the battery is at least this full (percent), also while it is being charged."""

    flag: ClassVar[str] = "--above-battery"
    reading: ClassVar[str | None] = "battery"

    percent: float

    def against(self, readings: Readings, now: datetime, *, held: bool) -> str | None:  # noqa: ARG002 - a rule's form
        """It is below the limit, or was and is not well above it again."""
        if readings.battery is None:
            return None
        level = round(100 * readings.battery, 1)
        if level < self.percent:
            return f"battery at {level:g} %, below {self.percent:g} %"
        enough = min(self.percent + _HYSTERESIS, 100)
        return f"battery at {level:g} %, goes on at {enough:g} %" if held and level < enough else None


@dataclass(frozen=True, slots=True)
class BelowThermal(Rule):
    """Work while the machine is cooler than this."""

    flag: ClassVar[str] = "--below-thermal"
    reading: ClassVar[str | None] = "thermal"
    rest: ClassVar[float] = 60.0  # it heats up again at once if work goes on as soon as it is cool

    limit: Thermal

    def against(self, readings: Readings, now: datetime, *, held: bool) -> str | None:  # noqa: ARG002 - a rule's form
        """It is too hot."""
        heat = readings.thermal
        return f"thermal state {heat}, not below {self.limit}" if heat is not None and heat >= self.limit else None


@dataclass(frozen=True, slots=True)
class WhenIdle(Rule):
    """Work when nobody has touched the machine for so many seconds."""

    flag: ClassVar[str] = "--when-idle"
    reading: ClassVar[str | None] = "idle_seconds"

    seconds: float

    def against(self, readings: Readings, now: datetime, *, held: bool) -> str | None:  # noqa: ARG002 - a rule's form
        """Somebody has."""
        idle = readings.idle_seconds
        if idle is None or idle >= self.seconds:
            return None
        return f"the user was here {_spoken(idle)} ago, waits for {_spoken(self.seconds)}"


def _spoken(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"
