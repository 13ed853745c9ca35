"""A log that a person can read while something is wrong for hours."""

from __future__ import annotations

import logging
import time

#: Seconds for which a message of one kind is not said again.
_SILENCE = 30.0


class Repeats(logging.Filter):
    """Lets a message through once in a while, whatever its numbers are; then it says how many were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is said."""
        kind = (record.name, str(record.msg))
        at, unsaid = self._said.get(kind, (float("-inf"), 0))
        now = time.monotonic()
        if now - at < _SILENCE:
            self._said[kind] = (at, unsaid + 1)
            return False
        self._said[kind] = (now, 0)
        if unsaid:
            record.msg = f"{record.msg} (and {unsaid} times more before)"
        return True
