"""The one place that decides what becomes of a job after an attempt failed. Pure: it returns a value."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from windfall.errors import AmbiguousOutcome, BackendError, BackendUnavailable, EngineDied, InvalidResponse, RateLimited
from windfall.result import Attempt
from windfall.steering import RETRIED


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how soon a job may be tried again. Times are in seconds."""

    max_tries: int = 5
    base_delay: float = 1.0
    most_delay: float = 60.0


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
    """Put the job back at once; it counts as a delivery that ended in nothing."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The job has failed for good."""


Decision = Retry | Snooze | Requeue | Fail


def decide(
    error: BackendError, history: Sequence[Attempt], policy: Policy, *, on_ambiguous: str, jitter: float | None = None
) -> Decision:
    """What becomes of a job whose attempt, the last of `history`, ended in `error`.

    `jitter` (0 to 1) replaces the random number of the full jitter (AWS Architecture Blog, "Exponential Backoff And
    Jitter", 2015).
    """
    match error:
        case EngineDied():
            return Requeue()
        case RateLimited():
            return Snooze(error.retry_after if error.retry_after is not None else policy.base_delay)
        case AmbiguousOutcome() if on_ambiguous == "fail":
            return Fail()
        case AmbiguousOutcome() | BackendUnavailable() | InvalidResponse():
            spent = tries_spent(history)
            if spent >= policy.max_tries:
                return Fail()
            ceiling = min(policy.most_delay, policy.base_delay * 2 ** (spent - 1))
            return Retry((random.random() if jitter is None else jitter) * ceiling)  # noqa: S311 - jitter is no secret
        case _:
            return Fail()


def tries_spent(history: Sequence[Attempt]) -> int:
    """Attempts that count against `max_tries`: failed ones since the job was last run again by hand."""
    spent = 0
    for attempt in history:
        if attempt.outcome in ("failed", "ambiguous") and not (attempt.error and attempt.error.type == "rate_limited"):
            spent += 1
        if attempt.moved_on == RETRIED:
            spent = 0
    return spent
