"""What can be read of the machine's state, and the interface through which it is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Final


class Thermal(IntEnum):
    """How hot the machine is, in the terms of `NSProcessInfo.thermalState`."""

    NOMINAL = 0
    FAIR = 1
    SERIOUS = 2  #: it is slowing down
    CRITICAL = 3  #: it has to cool down

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Readings:
    """The machine's state at one instant; None means unknown."""

    on_ac: bool | None = None
    battery: float | None = None  #: 0 to 1
    thermal: Thermal | None = None
    idle_seconds: float | None = None  #: since the keyboard, mouse or trackpad was last touched


#: The names of all readings.
ALL: Final = frozenset(field.name for field in fields(Readings))


class Sensors(ABC):
    """Reads the machine's state."""

    @abstractmethod
    async def read(self, wanted: frozenset[str] = ALL) -> Readings:
        """The current state. Readings that are not `wanted` may be left out, and cost nothing.

        A sensor that is missing or fails gives None, never an exception.
        """


class FakeSensors(Sensors):
    """Sensors whose readings a test sets."""

    def __init__(self, readings: Readings | None = None) -> None:
        self.readings = readings or Readings()
        self.looks = 0
        self.wanted: frozenset[str] = frozenset()

    async def read(self, wanted: frozenset[str] = ALL) -> Readings:
        """The readings that were set last."""
        self.looks += 1
        self.wanted = wanted
        return self.readings
