"""Durations as people write them: `90s`, `15m`, `8h`, `7d`, or a number of seconds."""

from __future__ import annotations

import re
from typing import Final

from windfall.errors import ConfigError

_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_FORM: Final = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([smhd]?)", re.ASCII)
#: No batch needs more, and Redis can add this to its time without losing precision.
_LONGEST: Final = 100 * 365 * 86400.0


def parse_duration(text: str) -> float:
    """Parse a duration into seconds. Raises `ConfigError`."""
    match = _FORM.fullmatch(text.strip().lower())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else -1.0
    if not 0 <= seconds <= _LONGEST:
        raise ConfigError(f"{text!r} is not a duration: write 90s, 15m, 8h, 7d or a number of seconds")
    return seconds
