"""What macOS' `pmset` prints: `-g batt` and `-g therm`."""

from __future__ import annotations

import re
from typing import Final

from windfall_worker.citizen.readings import Thermal

_SOURCE: Final = re.compile(r"^Now drawing from '(?P<source>[^']+)'", re.MULTILINE)
#: ` -InternalBattery-0 (id=4391011)	100%; charged; 0:00 remaining present: true`; older systems print no id.
_BATTERY: Final = re.compile(r"^\s*-(?P<name>.+?)\s+(?P<percent>\d{1,3})%;(?P<state>.*)$", re.MULTILINE)
_INTERNAL: Final = "InternalBattery"

_NONE_RECORDED: Final = "No thermal warning level has been recorded"
_WARNING: Final = re.compile(r"Thermal Warning Level\s*=\s*(\d+)")
_LIMIT: Final = re.compile(r"CPU_(?:Speed|Scheduler)_Limit\s*=\s*(\d+)")


def parse_batt(text: str) -> tuple[bool | None, float | None]:
    """Whether the machine runs on mains power, and how full its battery is (0 to 1)."""
    source = _SOURCE.search(text)
    # A machine on a UPS is off the mains.
    on_ac = source["source"] == "AC Power" if source else None
    found = [match for match in _BATTERY.finditer(text) if "present: false" not in match["state"]]
    # For a laptop on a UPS this is its own battery; for a desktop machine on one, the UPS.
    own = [match for match in found if match["name"].startswith(_INTERNAL)] or found
    levels = [min(int(match["percent"]), 100) / 100 for match in own]
    return on_ac, min(levels, default=None)


def parse_therm(text: str) -> Thermal | None:
    """The thermal state: from the warning level, and on Intel also from the processor's limits."""
    found = [Thermal.NOMINAL] if _NONE_RECORDED in text else []
    found += [heat for heat in (_of_warning(int(level)) for level in _WARNING.findall(text)) if heat is not None]
    found += [_of_limit(int(percent)) for percent in _LIMIT.findall(text)]
    return max(found, default=None)


def _of_warning(level: int) -> Thermal | None:
    """The levels of IOKit/pwr_mgt/IOPM.h: 0 normal, 5 danger, 10 critical.

    From 100 on they are the platform's own: 100 warning, 110 trap, 255 unknown.
    """
    if level > 110:
        return None
    if level == 100:
        return Thermal.SERIOUS
    steps = ((10, Thermal.CRITICAL), (5, Thermal.SERIOUS), (1, Thermal.FAIR))
    return next((heat for least, heat in steps if level >= least), Thermal.NOMINAL)


def _of_limit(percent: int) -> Thermal:
    """The limit is a percentage of the full speed. The steps are ours: Apple defines none."""
    steps = ((100, Thermal.NOMINAL), (80, Thermal.FAIR), (50, Thermal.SERIOUS))
    return next((heat for least, heat in steps if percent >= least), Thermal.CRITICAL)
