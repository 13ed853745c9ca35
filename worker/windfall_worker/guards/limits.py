"""What rate limits are made of: what a call needs, and what an endpoint tells of its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

#: What a limit counts: requests, tokens, input tokens or output tokens.
Counted = Literal["r", "t", "i", "o"]

#: Two estimates of a period that differ by less than this factor are the same.
_SAME: Final = 0.15
#: So many comparisons must agree: in a fixed window one may do so by chance.
_AGREEING: Final = 2


@dataclass(frozen=True, slots=True)
class Rates:
    """The requests and tokens a minute that settings allow; None does not limit them."""

    rpm: int | None = None
    tpm: int | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """What one call takes besides the one request: an estimate of its tokens."""

    input_tokens: int = 0
    output_tokens: int = 0

    def of(self, counted: Counted) -> int:
        """What it takes of this limit."""
        return {
            "r": 1,
            "t": self.input_tokens + self.output_tokens,
            "i": self.input_tokens,
            "o": self.output_tokens,
        }[counted]


#: One request, whatever its tokens.
NO_TOKENS: Final = Need()


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer's headers say about one limit. `reset`: seconds until it is whole again, if they say so."""

    counted: Counted
    limit: float
    remaining: float
    reset: float | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """A call that may go. `levels`: what each limit held after it, which its answer's headers are compared with."""

    need: Need = NO_TOKENS
    epoch: int = 0
    levels: Mapping[str, str] | None = None


class Refill:
    """Finds out whether a limit refills steadily (a token bucket), or all at once (a fixed window).

    A steady limit says that it is whole again in a time that is proportional to what is used. In a fixed window that
    time has nothing to do with what is used.
    """

    def __init__(self) -> None:
        self._seen: tuple[float, float, float, float] | None = None  # used, reset, when, limit
        self._period: float | None = None
        self._agreeing = 0  # comparisons in a row that speak for a steady refill

    def period(self, told: Told, now: float) -> float | None:
        """Seconds in which it refills steadily from nothing to the whole; 0: it does not; None: not known yet."""
        used = told.limit - told.remaining
        if not told.reset or used < max(1.0, 0.02 * told.limit):
            return self._period
        if self._seen is None or self._seen[3] != told.limit:
            self._seen, self._period = (used, told.reset, now, told.limit), None
            return None
        before, reset, at, _ = self._seen
        if before / 1.5 < used < before * 1.5 and now - at < reset / 4:
            return self._period  # too little has happened to tell
        period, known = told.reset * told.limit / used, reset * told.limit / before
        self._agreeing = self._agreeing + 1 if abs(period / known - 1) <= _SAME else 0
        self._period = 0.0 if not self._agreeing else period if self._agreeing >= _AGREEING else self._period
        self._seen = (used, told.reset, now, told.limit)
        return self._period
