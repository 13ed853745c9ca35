"""The one place that decides what happens to a job after a failed attempt. Pure: it returns a value."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from windfall.errors import (
    TIMEOUT,
    UNREADABLE,
    AmbiguousOutcome,
    AuthenticationFailed,
    BackendError,
    BackendUnavailable,
    EngineDied,
    InvalidResponse,
    MalformedRequest,
    RateLimited,
)
from windfall.result import Attempt


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how soon a job may be tried again. Times are in seconds."""

    max_tries: int = 5
    base_delay: float = 1.0
    most_delay: float = 60.0
    #: For a backend that says to try again later, but not when.
    unnamed_pause: float = 5.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Put the job back for `delay` seconds; the try is spent."""

    delay: float


@dataclass(frozen=True, slots=True)
class Snooze:
    """Put the job back for `delay` seconds; no try is spent."""

    delay: float


@dataclass(frozen=True, slots=True)
class Requeue:
    """Put the job back at once; it counts as a delivery without an outcome."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """Try the next backend of the job's route, now."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The job has failed for good."""


Decision = Retry | Snooze | Requeue | Fallback | Fail

#: A backend's name and what it calls the model: one provider may be there several times.
Place = tuple[str, str | None]

#: Errors in the ledger that mean "try again later" and spend no try.
LATER: Final = frozenset({"rate_limited", "circuit_open", "parked"})
#: Tries on one backend that may end with one of these codes.
MOST_TRIES: Final = {TIMEOUT: 2, UNREADABLE: 2}
#: How many times longer a backend may take that once was too slow for this job.
LONGER: Final = 2.0


def decide(
    errors: Sequence[BackendError],
    history: Sequence[Attempt],
    policy: Policy,
    *,
    more: bool,
    on_ambiguous: Literal["retry", "fail"] = "retry",
    jitter: float | None = None,
) -> Decision:
    """What to do with a job whose backends, tried in order, failed with `errors`; `more` says whether one is left.

    `history` is the whole ledger, these attempts included. `jitter` (0 to 1) replaces the random factor of the
    back-off, which uses full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
    """
    last = errors[-1]
    if isinstance(last, MalformedRequest) or (isinstance(last, AmbiguousOutcome) and on_ambiguous == "fail"):
        return Fail()
    if isinstance(last, EngineDied) and len(errors) == 1 and not (more and _died_before(history)):
        # Even if a cloud backend could take it: one dead engine must not turn a whole batch into paid calls.
        return Requeue()
    if more:
        return Fallback()
    chance = random.random() if jitter is None else jitter  # noqa: S311 - jitter is not a secret
    if any(_worth_another_try(error) and not done for error, done in _with_spoilt(errors, history)):
        spent = tries_spent(history)
        if spent >= policy.max_tries:
            return Fail()
        ceiling = min(policy.most_delay, policy.base_delay * 2 ** max(0, spent - 1))
        return Retry(chance * ceiling)
    pauses = [_pause(error, policy, chance) for error in errors if error.kind in LATER]
    return Snooze(min(pauses)) if pauses else Fail()


def _died_before(history: Sequence[Attempt]) -> bool:
    return sum(attempt.error is not None and attempt.error.type == EngineDied.type for attempt in history) > 1


def _worth_another_try(error: BackendError) -> bool:
    # A single 403 may be about this request, or the first sign of a dead key; `guards/parking.py` tells them apart.
    passing = isinstance(error, (AmbiguousOutcome, AuthenticationFailed, BackendUnavailable, InvalidResponse))
    return passing and error.kind not in LATER


def _pause(error: BackendError, policy: Policy, chance: float) -> float:
    unnamed = policy.unnamed_pause if isinstance(error, RateLimited) else policy.base_delay
    pause = unnamed if error.retry_after is None else error.retry_after
    if error.kind == "circuit_open":
        # Jobs that came back together would be sorted by their ids, and the first of them would be the breaker's
        # probe every time, until its tries are spent.
        pause += chance * min(pause, policy.base_delay)
    return pause


def _with_spoilt(errors: Sequence[BackendError], history: Sequence[Attempt]) -> list[tuple[BackendError, bool]]:
    """Each error of this delivery with whether its backend is spoilt: their attempts are the last of the ledger."""
    there = spoilt(history)
    places = [(attempt.backend, attempt.model) in there for attempt in history[-len(errors) :]]
    return list(zip(errors, [False] * (len(errors) - len(places)) + places, strict=True))


def spoilt(history: Sequence[Attempt]) -> frozenset[Place]:
    """Where this job is not sent again: each answer may have been paid for, and the next would be no better."""
    return frozenset(place for (place, code), tries in failures(history).items() if tries >= MOST_TRIES[code])


def failures(history: Sequence[Attempt]) -> Counter[tuple[Place, str]]:
    """How often a code of `MOST_TRIES` ended an attempt at each place since the job was last retried by hand."""
    found: Counter[tuple[Place, str]] = Counter()
    for attempt in history:
        code = _code(attempt)
        if code in MOST_TRIES:
            found[(attempt.backend, attempt.model), code] += 1
        if attempt.retried:
            found.clear()
    return found


def _code(attempt: Attempt) -> str:
    if attempt.error is None:
        return ""
    # Older workers noted no code.
    return attempt.error.code or (UNREADABLE if attempt.error.type == InvalidResponse.type else "")


def tries_spent(history: Sequence[Attempt]) -> int:
    """The most failed tries on any one backend since the job was last retried by hand."""
    spent: Counter[str] = Counter()
    for attempt in history:
        if attempt.outcome in ("failed", "ambiguous") and not (attempt.error and attempt.error.type in LATER):
            spent[attempt.backend] += 1
        if attempt.retried:
            spent.clear()
    return max(spent.values(), default=0)
