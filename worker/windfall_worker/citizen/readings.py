"""What can be seen of the machine, and the seam behind which it is looked at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Final


class Thermal(IntEnum):
    """How hot the machine says it is, in the words of `NSProcessInfo.thermalState`."""

    NOMINAL = 0
    FAIR = 1
    SERIOUS = 2  #: it slows down
    CRITICAL = 3  #: it must cool down

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Readings:
    """The machine at one instant; None is what cannot be told."""

    on_ac: bool | None = None
    battery: float | None = None  #: 0 to 1
    thermal: Thermal | None = None
    idle_seconds: float | None = None  #: since somebody last touched keyboard, mouse or trackpad


#: The names of all of them.
ALL: Final = frozenset(field.name for field in fields(Readings))


class Sensors(ABC):
    """Reads the machine."""

    @abstractmethod
    async def read(self, wanted: frozenset[str] = ALL) -> Readings:
        """The machine now. What is not `wanted` may be left out, and costs nothing.

        A sensor that is missing or fails is a None, never an exception.
        """


class FakeSensors(Sensors):
    """A machine that is as a test says."""

    def __init__(self, readings: Readings | None = None) -> None:
        self.readings = readings or Readings()
        self.looks = 0
        self.wanted: frozenset[str] = frozenset()

    async def read(self, wanted: frozenset[str] = ALL) -> Readings:
        """What was set last."""
        self.looks += 1
        self.wanted = wanted
        return self.readings
