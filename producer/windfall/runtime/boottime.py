"""A clock that includes time asleep: on macOS and Linux, `time.monotonic` stops while the machine sleeps."""

from __future__ import annotations

import time
from typing import Final

# Linux has the first. The second is mach_continuous_time on macOS; on Linux it stops during sleep.
_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None) or getattr(time, "CLOCK_MONOTONIC_RAW", None)


def boottime() -> float:
    """Seconds since an arbitrary moment, including time asleep; it is never adjusted."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
