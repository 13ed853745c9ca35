"""Readings of a Mac, from the commands that come with macOS."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from typing import Final

from windfall.config.child_environment import system_environment
from windfall_worker.citizen.ioreg import parse_idle
from windfall_worker.citizen.notifyutil import PRESSURE, parse_pressure
from windfall_worker.citizen.pmset import parse_batt, parse_therm
from windfall_worker.citizen.readings import ALL, Readings, Sensors

#: Seconds that a command may take.
_LIMIT: Final = 3.0


class MacSensors(Sensors):
    """Reads the output of `pmset`, `notifyutil` and `ioreg`."""

    async def read(self, wanted: frozenset[str] = ALL) -> Readings:
        """Run the commands that report what is `wanted`, all at once; each costs a process every few seconds."""
        power, heated = not wanted.isdisjoint({"on_ac", "battery"}), "thermal" in wanted
        batt, therm, pressure, idle = await asyncio.gather(
            output_of("pmset", "-g", "batt") if power else _nothing(),
            output_of("pmset", "-g", "therm") if heated else _nothing(),
            output_of("notifyutil", "-g", PRESSURE) if heated else _nothing(),
            # -r begins at the device: otherwise -d counts from the root, and the whole registry is megabytes.
            output_of("ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOHIDSystem")
            if "idle_seconds" in wanted
            else _nothing(),
        )
        on_ac, battery = parse_batt(batt)
        # The hotter of the two: notifyutil also prints 0 for a name that this system does not know.
        heat = [heat for heat in (parse_therm(therm), parse_pressure(pressure)) if heat is not None]
        return Readings(on_ac, battery, max(heat, default=None), parse_idle(idle))


async def _nothing() -> str:
    return ""


async def output_of(*command: str, limit: float = _LIMIT) -> str:
    """What a command prints; empty if it is missing, fails or takes longer than `limit` seconds."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env=system_environment()
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(limit):
            out, _ = await process.communicate()
    except TimeoutError:
        return ""
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return "" if process.returncode else out.decode(errors="replace")
