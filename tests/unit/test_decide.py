"""The table of decisions."""

from __future__ import annotations

import pytest

from windfall.errors import (
    AmbiguousOutcome,
    AuthenticationFailed,
    BackendError,
    BackendUnavailable,
    ContextLengthExceeded,
    EngineDied,
    InvalidResponse,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
)
from windfall.result import Attempt, ErrorInfo
from windfall.steering import RETRIED
from windfall_worker.decide import Decision, Fail, Policy, Requeue, Retry, Snooze, decide, tries_spent


def attempt(outcome: str = "failed", kind: str = "backend_unavailable", moved_on: str | None = None) -> Attempt:
    error = ErrorInfo(type=kind, message="")
    return Attempt.model_validate(
        {"backend": "mlx", "started_at": 0.0, "outcome": outcome, "error": error, "moved_on": moved_on}
    )


@pytest.mark.parametrize(
    ("error", "tries", "decision"),
    [
        (BackendUnavailable(""), 1, Retry(1.0)),
        (BackendUnavailable(""), 4, Retry(8.0)),
        (BackendUnavailable(""), 5, Fail()),
        (InvalidResponse(""), 1, Retry(1.0)),
        (AmbiguousOutcome(""), 2, Retry(2.0)),
        (RateLimited("", retry_after=7.0), 1, Snooze(7.0)),
        (RateLimited("", retry_after=0.0), 1, Snooze(0.0)),
        (RateLimited(""), 9, Snooze(1.0)),
        (EngineDied(""), 9, Requeue()),
        (RequestRejected(""), 1, Fail()),
        (ContextLengthExceeded(""), 1, Fail()),
        (AuthenticationFailed(""), 1, Fail()),
        (QuotaExhausted(""), 1, Fail()),
    ],
)
def test_each_error_has_its_decision(error: BackendError, tries: int, decision: Decision) -> None:
    history = [attempt() for _ in range(tries)]
    assert decide(error, history, Policy(), on_ambiguous="retry", jitter=1.0) == decision


def test_an_ambiguous_outcome_fails_the_job_that_asked_for_it() -> None:
    assert decide(AmbiguousOutcome(""), [attempt("ambiguous")], Policy(), on_ambiguous="fail") == Fail()


def test_only_failed_attempts_since_the_last_retry_by_hand_are_spent() -> None:
    history = [
        attempt(),
        attempt(moved_on=RETRIED),
        attempt("lost"),
        attempt("cancelled"),
        attempt(kind="rate_limited"),
    ]
    assert tries_spent(history) == 0
    assert tries_spent([*history, attempt(), attempt("ambiguous")]) == 2


def test_the_delay_never_exceeds_its_ceiling() -> None:
    policy = Policy(max_tries=100, most_delay=60)
    decision = decide(BackendUnavailable(""), [attempt()] * 50, policy, on_ambiguous="retry", jitter=1.0)
    assert decision == Retry(60)
