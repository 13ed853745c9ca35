"""Readings of a Linux machine, from /sys. Whether it is in use, and how hot it is, is not read."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from windfall_worker.citizen.readings import ALL, Readings, Sensors

_SUPPLIES: Final = Path("/sys/class/power_supply")


class LinuxSensors(Sensors):
    """Reads the power supplies that the kernel reports."""

    def __init__(self, supplies: Path = _SUPPLIES) -> None:
        self._supplies = supplies

    async def read(self, wanted: frozenset[str] = ALL) -> Readings:  # noqa: ARG002 - a few short files have it all
        """Mains power and the battery, if there are any."""
        try:
            supplies = sorted(self._supplies.iterdir())
        except OSError:
            return Readings()
        chargers = [supply for supply in supplies if _word(supply, "type") in {"Mains", "USB"}]
        # A battery with the scope "Device" belongs to a mouse or the like.
        batteries = [s for s in supplies if _word(s, "type") == "Battery" and _word(s, "scope") != "Device"]
        levels = [int(text) / 100 for text in (_word(each, "capacity") for each in batteries) if text.isdigit()]
        on_ac = any(_word(charger, "online") == "1" for charger in chargers)
        return Readings(on_ac=on_ac if chargers else None, battery=min(levels, default=None))


def _word(supply: Path, name: str) -> str:
    try:
        return (supply / name).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
