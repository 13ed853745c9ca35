"""Whether the service is running, since when, and how it last ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from windfall.errors import ConfigError
from windfall.service.programs import Run

_ELAPSED: Final = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")


@dataclass(frozen=True, slots=True)
class State:
    """What the service manager knows. `loaded`: the unit is loaded, whether or not it is running."""

    loaded: bool = False
    pid: int | None = None
    last_exit: str | None = None  #: `exit code 1` or `signal 9`; None if it has never ended


def running_for(run: Run, pid: int) -> float | None:
    """Seconds since a process started; None if it has ended. `ps` works alike on macOS and Linux."""
    try:
        found = _ELAPSED.search(run(["ps", "-o", "etime=", "-p", str(pid)]).out)
    except ConfigError:
        return None  # minimal Linux images have no ps
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds
