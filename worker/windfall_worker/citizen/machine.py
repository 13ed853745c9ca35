"""The machine that a worker runs on, as the worker deals with it."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from windfall_worker.citizen.keeper import PERIOD
from windfall_worker.citizen.linux import LinuxSensors
from windfall_worker.citizen.macos import MacSensors
from windfall_worker.citizen.readings import Sensors


@dataclass(frozen=True, slots=True)
class Machine:
    """What is looked at. Tests bring one of their own."""

    sensors: Sensors
    period: float = PERIOD  #: seconds between two looks at it


def this_machine() -> Machine:
    """The one that this process runs on."""
    return Machine(MacSensors() if sys.platform == "darwin" else LinuxSensors())
