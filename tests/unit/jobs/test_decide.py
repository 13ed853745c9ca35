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
    MalformedRequest,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
)
from windfall.result import Attempt, ErrorInfo
from windfall_worker.guards.parking import Parked
from windfall_worker.jobs.decide import (
    Decision,
    Fail,
    Fallback,
    Policy,
    Requeue,
    Retry,
    Snooze,
    decide,
    spoilt,
    tries_spent,
)


def attempt(outcome: str = "failed", kind: str = "backend_unavailable", *, retried: bool = False) -> Attempt:
    error = ErrorInfo(type=kind, message="")
    return Attempt.model_validate(
        {"backend": "mlx", "started_at": 0.0, "outcome": outcome, "error": error, "retried": retried}
    )


class CircuitOpen(BackendUnavailable):
    type = "circuit_open"


@pytest.mark.parametrize(
    ("errors", "tries", "decision"),
    [
        ([BackendUnavailable("")], 1, Retry(1.0)),
        ([BackendUnavailable("")], 4, Retry(8.0)),
        ([BackendUnavailable("")], 5, Fail()),
        ([InvalidResponse("")], 1, Retry(1.0)),
        ([AmbiguousOutcome("")], 2, Retry(2.0)),
        ([RateLimited("", retry_after=7.0)], 1, Snooze(7.0)),
        ([RateLimited("", retry_after=0.0)], 1, Snooze(0.0)),
        ([RateLimited("")], 9, Snooze(5.0)),
        ([CircuitOpen("", retry_after=3.0)], 9, Snooze(4.0)),
        ([CircuitOpen("", retry_after=0.5)], 9, Snooze(1.0)),
        ([CircuitOpen("", retry_after=30.0), RateLimited("", retry_after=4.0)], 9, Snooze(4.0)),
        ([EngineDied("")], 9, Requeue()),
        ([EngineDied(""), RateLimited("", retry_after=4.0)], 1, Retry(1.0)),
        ([RequestRejected("")], 1, Fail()),
        ([ContextLengthExceeded("")], 1, Fail()),
        ([MalformedRequest("")], 1, Fail()),
        ([BackendUnavailable(""), MalformedRequest("")], 1, Fail()),
        ([AuthenticationFailed("")], 1, Retry(1.0)),
        ([AuthenticationFailed("")], 5, Fail()),
        ([QuotaExhausted("")], 1, Fail()),
        ([Parked("", retry_after=30.0)], 9, Snooze(30.0)),
        ([Parked("", retry_after=30.0), RateLimited("", retry_after=4.0)], 9, Snooze(4.0)),
        ([Parked("", retry_after=30.0), BackendUnavailable("")], 1, Retry(1.0)),
        ([ContextLengthExceeded(""), RateLimited("", retry_after=2.0)], 1, Snooze(2.0)),
        ([BackendUnavailable(""), AuthenticationFailed("")], 1, Retry(1.0)),
        ([BackendUnavailable(""), AuthenticationFailed("")], 5, Fail()),
    ],
)
def test_each_way_of_failing_has_its_decision(errors: list[BackendError], tries: int, decision: Decision) -> None:
    history = [attempt() for _ in range(tries)]
    assert decide(errors, history, Policy(), more=False, jitter=1.0) == decision


@pytest.mark.parametrize(
    "error",
    [
        BackendUnavailable(""),
        RateLimited(""),
        CircuitOpen(""),
        AmbiguousOutcome(""),
        InvalidResponse(""),
        AuthenticationFailed(""),
        QuotaExhausted(""),
        Parked(""),
        ContextLengthExceeded(""),
    ],
)
def test_whatever_fails_the_next_backend_of_the_route_is_tried_first(error: BackendError) -> None:
    assert decide([error], [attempt()] * 9, Policy(), more=True) == Fallback()


def test_a_dead_engine_gets_the_job_once_more_before_it_goes_to_the_cloud() -> None:
    died = attempt("lost", "engine_died")
    assert decide([EngineDied("")], [died], Policy(), more=True) == Requeue()
    assert decide([EngineDied("")], [died, died], Policy(), more=True) == Fallback()
    assert decide([EngineDied("")], [died, died], Policy(), more=False) == Requeue()


@pytest.mark.parametrize("more", [True, False])
def test_an_ambiguous_outcome_fails_the_job_that_asked_for_it(*, more: bool) -> None:
    history = [attempt("ambiguous")]
    assert decide([AmbiguousOutcome("")], history, Policy(), more=more, on_ambiguous="fail") == Fail()


def test_only_failed_attempts_since_the_last_retry_by_hand_are_spent() -> None:
    history = [
        attempt(),
        attempt(retried=True),
        attempt("lost"),
        attempt("cancelled"),
        attempt(kind="rate_limited"),
    ]
    assert tries_spent(history) == 0
    assert tries_spent([*history, attempt(), attempt("ambiguous")]) == 2


def test_two_backends_that_fail_in_turn_spend_one_try_each() -> None:
    other = attempt().model_copy(update={"backend": "openai"})
    assert tries_spent([attempt(), other, attempt(), other]) == 2


def test_the_delay_never_exceeds_its_ceiling() -> None:
    policy = Policy(max_tries=100, most_delay=60)
    assert decide([BackendUnavailable("")], [attempt()] * 50, policy, more=False, jitter=1.0) == Retry(60)


def test_no_other_backend_is_asked_for_a_request_that_is_wrong_in_itself() -> None:
    assert decide([MalformedRequest("")], [attempt(kind="malformed_request")], Policy(), more=True) == Fail()
    assert decide([RequestRejected("")], [attempt(kind="invalid_request")], Policy(), more=True) == Fallback()


def coded(code: str | None, backend: str = "first", kind: str = "ambiguous", *, retried: bool = False) -> Attempt:
    error = ErrorInfo(type=kind, code=code, message="")
    return Attempt(backend=backend, started_at=0.0, outcome="failed", error=error, retried=retried)


@pytest.mark.parametrize("code", ["timeout", "unreadable"])
def test_a_second_such_end_on_one_backend_is_the_last(code: str) -> None:
    error = AmbiguousOutcome("")
    assert decide([error], [coded(code)], Policy(), more=False, jitter=1.0) == Retry(1.0)
    assert decide([error], [coded(code)] * 2, Policy(), more=False) == Fail()
    assert decide([error], [coded(code)] * 2, Policy(), more=True) == Fallback()
    assert decide([error], [coded(code, retried=True), coded(code)], Policy(), more=False, jitter=1.0) == Retry(1.0)


def test_another_backend_goes_on_after_such_ends() -> None:
    errors = [InvalidResponse(""), BackendUnavailable("")]
    history = [coded("unreadable"), coded("unreadable"), coded(None, "second", "backend_unavailable")]
    assert decide(errors, history, Policy(), more=False, jitter=1.0) == Retry(2.0)
    assert spoilt(history) == {("first", None)}


def test_an_older_worker_noted_no_code_for_an_answer_that_could_not_be_read() -> None:
    assert spoilt([coded(None, kind="invalid_response")] * 2) == {("first", None)}
    assert spoilt([coded(None, kind="ambiguous")] * 2) == set()
