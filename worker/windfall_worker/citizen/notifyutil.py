"""What macOS' `notifyutil -g com.apple.system.thermalpressurelevel` prints.

On Apple Silicon `pmset -g therm` reports nothing; this is what `powermetrics` reads, but it does not require root.
"""

from __future__ import annotations

import re
from typing import Final

from windfall_worker.citizen.readings import Thermal

PRESSURE: Final = "com.apple.system.thermalpressurelevel"

_LEVEL: Final = re.compile(rf"^{re.escape(PRESSURE)} (\d+)$", re.MULTILINE)
#: libkern/OSThermalNotification.h: nominal, moderate, heavy, trapping, sleeping.
_LEVELS: Final = (Thermal.NOMINAL, Thermal.FAIR, Thermal.SERIOUS, Thermal.CRITICAL, Thermal.CRITICAL)


def parse_pressure(text: str) -> Thermal | None:
    """The thermal state, or None if the level is missing or unknown."""
    match = _LEVEL.search(text)
    level = int(match[1]) if match else len(_LEVELS)
    return _LEVELS[level] if level < len(_LEVELS) else None
