"""What macOS' `ioreg -c IOHIDSystem` prints."""

from __future__ import annotations

import re
from typing import Final

_IDLE: Final = re.compile(r'"HIDIdleTime"\s*=\s*(\d+)')


def parse_idle(text: str) -> float | None:
    """Seconds since the keyboard, mouse or trackpad was last touched; the registry has nanoseconds."""
    match = _IDLE.search(text)
    return int(match[1]) / 1e9 if match else None
