"""Keeping a log readable while something is wrong for hours."""

from __future__ import annotations

import logging
import time
from typing import Final

#: Seconds for which a message of the same kind is not repeated.
_SILENCE: Final = 30.0
#: Kinds of messages that are remembered: messages of other programs may all differ.
_MOST: Final = 1000


class Repeats(logging.Filter):
    """Lets a repeated warning through only now and then, with the number of repetitions that it left out.

    Numbers in a message do not make it different. Records below a warning, and those with `each` set, always pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged; the same for every handler."""
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
            record.msg = f"{record.msg} (repeated {unsaid} more times before this)"
        return True

    def _forget(self, now: float) -> None:
        """Forget messages that would be logged again anyway; if those are few, the oldest half."""
        recent = [(kind, said) for kind, said in self._said.items() if now - said[0] < _SILENCE]
        self._said = dict(recent[-_MOST // 2 :])
