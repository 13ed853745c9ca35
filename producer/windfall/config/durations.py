"""Durations as people write them: `90s`, `15m`, `8h`, `7d`, or a number of seconds."""

from __future__ import annotations

import re
from typing import Final

from windfall.errors import ConfigError

_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_FORM: Final = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([smhd]?)", re.ASCII)
#: What Redis can still add to its time without losing a millisecond is far more; no batch needs more than this.
_LONGEST: Final = 100 * 365 * 86400.0


def parse_duration(text: str) -> float:
    """The seconds of a duration. Raises `ConfigError`."""
    match = _FORM.fullmatch(text.strip().lower())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else -1.0
    if not 0 <= seconds <= _LONGEST:
        raise ConfigError(f"{text!r} is no duration: write 90s, 15m, 8h or 7d, or a number of seconds")
    return seconds
