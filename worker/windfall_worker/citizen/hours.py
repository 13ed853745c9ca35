"""Working hours of a worker, as people write them: `20:00-08:00`, `mon-fri 20:00-08:00`, `sat,sun`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ALL: Final = frozenset(range(7))
_TIMES: Final = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})", re.ASCII)
_DAY: Final = 24 * 60
_EXAMPLES: Final = "write 20:00-08:00, mon-fri 20:00-08:00, or sat,sun"


@dataclass(frozen=True, slots=True)
class Hours:
    """A window in this machine's local time. One that spans midnight belongs to the day on which it begins."""

    text: str
    days: frozenset[int] = _ALL  #: Monday is 0
    begins: int = 0  #: minutes after midnight
    ends: int = _DAY

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse hours as people write them. Raises `ValueError` with one sentence."""
        words = " ".join(text.lower().split())
        times = _TIMES.search(words)
        days = words[: times.start()].strip() if times else words
        if not words or (times and words[times.end() :]):
            raise ValueError(f"{text!r} are not hours: {_EXAMPLES}")
        begins, ends = _minutes(text, times) if times else (0, _DAY)
        return cls(words, _days(text, days) if days else _ALL, begins, ends)

    def __str__(self) -> str:
        return self.text

    def hold(self, when: datetime) -> bool:
        """Whether this instant, in local time, falls within the window.

        Wall-clock time counts: on the night on which clocks change, a window is an hour shorter or longer.
        """
        minute, day = when.hour * 60 + when.minute, when.weekday()
        if self.begins < self.ends:
            return day in self.days and self.begins <= minute < self.ends
        return (day in self.days and minute >= self.begins) or ((day - 1) % 7 in self.days and minute < self.ends)


def _minutes(text: str, times: re.Match[str]) -> tuple[int, int]:
    hours, minutes = [int(times[1]), int(times[3])], [int(times[2]), int(times[4])]
    begins, ends = (60 * hour + minute for hour, minute in zip(hours, minutes, strict=True))
    if max(minutes) > 59 or begins >= _DAY or ends > _DAY:
        raise ValueError(f"{text!r} are not hours of a day: these go from 00:00 to 24:00, such as 20:00-08:00")
    if begins == ends:
        raise ValueError(f"{text!r} end when they begin: {_EXAMPLES}")
    return begins, ends


def _days(text: str, words: str) -> frozenset[int]:
    found: set[int] = set()
    for part in re.split(r"\s*,\s*", words):
        first, dash, last = (word.strip() for word in part.partition("-"))
        if first not in _DAYS or (dash and last not in _DAYS):
            raise ValueError(f"{text!r} are not hours: days are {', '.join(_DAYS)}; {_EXAMPLES}")
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        found.update((begin + n) % 7 for n in range((end - begin) % 7 + 1))
    return frozenset(found)
