"""A clock that goes on while the machine sleeps: `time.monotonic` stands still then, on macOS and on Linux."""

from __future__ import annotations

import time
from typing import Final

# Linux has the first; the second is macOS' mach_continuous_time, and on Linux no such thing.
_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None) or getattr(time, "CLOCK_MONOTONIC_RAW", None)


def boottime() -> float:
    """Seconds since some time in the past, those of sleep included; nobody sets it."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
