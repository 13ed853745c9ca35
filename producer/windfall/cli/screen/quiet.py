"""A log that a person can read while something is wrong for hours."""

from __future__ import annotations

import logging
import time

#: Seconds for which a message of one kind is not said again.
_SILENCE = 30.0
#: Kinds of messages that are remembered. What other programs say may be of as many kinds as there are lines.
_MOST = 1000


class Repeats(logging.Filter):
    """Lets a warning through once in a while, whatever its numbers are; then it says how many were left out.

    What is below a warning was asked for, and a record with `each` set is to be said each time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is said; by one handler as by the next."""
        if (decided := getattr(record, "is_said", None)) is not None:
            return bool(decided)
        record.is_said = said = self._decide(record)
        return said

    def _decide(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or getattr(record, "each", False):
            return True
        kind = (record.name, str(record.msg))
        at, unsaid = self._said.get(kind, (float("-inf"), 0))
        now = time.monotonic()
        if now - at < _SILENCE:
            self._said[kind] = (at, unsaid + 1)
            return False
        if len(self._said) >= _MOST:
            self._forget(now)
        self._said[kind] = (now, 0)
        if unsaid:
            record.msg = f"{record.msg} (and {unsaid} times more before)"
        return True

    def _forget(self, now: float) -> None:
        """What would be said again anyway; where that is little, the oldest half."""
        recent = [(kind, said) for kind, said in self._said.items() if now - said[0] < _SILENCE]
        self._said = dict(recent[-_MOST // 2 :])
