"""The machine that a worker runs on, as the worker sees it."""

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
    """How a machine is read, kept awake and watched. Tests provide their own."""

    sensors: Sensors
    awake: list[str] | None = None  #: the command that keeps it awake
    sleep: SleepWatch | None = None  #: announces its sleep
    period: float = PERIOD  #: seconds between readings


def this_machine() -> Machine:
    """The machine that this process runs on."""
    awake = awake_command(os.getpid())
    if sys.platform == "darwin":
        return Machine(MacSensors(), awake, IOKitSleepWatch())
    return Machine(LinuxSensors(), awake)
