"""The machine that a worker runs on, as the worker deals with it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from windfall_worker.citizen.awake import awake_command
from windfall_worker.citizen.iokit import IOKitSleepWatch
from windfall_worker.citizen.keeper import PERIOD
from windfall_worker.citizen.linux import LinuxSensors
from windfall_worker.citizen.macos import MacSensors
from windfall_worker.citizen.readings import Sensors
from windfall_worker.citizen.sleep import SleepWatch


@dataclass(frozen=True, slots=True)
class Machine:
    """What is looked at, and what is done to it. Tests bring one of their own."""

    sensors: Sensors
    awake: list[str] | None = None  #: the program that keeps it awake
    sleep: SleepWatch | None = None  #: who tells of its sleep
    period: float = PERIOD  #: seconds between two looks at it


def this_machine() -> Machine:
    """The one that this process runs on."""
    awake = awake_command(os.getpid())
    if sys.platform == "darwin":
        return Machine(MacSensors(), awake, IOKitSleepWatch())
    return Machine(LinuxSensors(), awake)
