"""Which failures are sent again, how often, and how long is waited: counted at a real server."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest

from faultserver import FaultServer
from helpers.fake_clock import FakeClock
from helpers.waiting import eventually
from windfall.errors import (
    AmbiguousOutcome,
    AuthenticationFailed,
    BackendError,
    BackendUnavailable,
    InvalidResponse,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
)
from windfall_worker.cloud.openai import OpenAIClient
from windfall_worker.cloud.options import CallOptions
from windfall_worker.cloud.transport import TripRetry
from windfall_worker.cloud.trip import RETRIED
from windfall_worker.guards.breaker import CircuitOpen, FailureRate
from windfall_worker.guards.retry_budget import RetryBudget

HI = [{"role": "user", "content": "hi"}]


def client(server: FaultServer, **more: Any) -> OpenAIClient:
    return OpenAIClient(server.url, "sk-test", **({"max_retries": 2, "backoff_factor": 0.01, "timeout": 30.0} | more))


async def call(client: OpenAIClient, model: str, options: CallOptions | None = None) -> BackendError | None:
    """One call; its error, or None."""
    try:
        await client.chat_completion(HI, model, 5, options=options)
    except BackendError as exc:
        return exc
    return None


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that are waited between sendings; nobody waits for them here."""
    found: list[float] = []

    async def asleep(self: TripRetry, _: object) -> None:
        found.append(self.backoff_strategy())

    monkeypatch.setattr(TripRetry, "asleep", asleep)
    return found


@pytest.mark.parametrize("status", sorted(RETRIED))
async def test_a_passing_status_is_sent_again(fault_server: FaultServer, model: str, status: int) -> None:
    async with client(fault_server) as ours:
        fault_server.plan(model, {"status": status}, {"status": status})
        assert await call(ours, model) is None
        assert fault_server.hits(model) == 3
        fault_server.plan(model, then={"status": status})
        assert await call(ours, model) is not None
        assert fault_server.hits(model) == 3


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422, 425, 501, 505, 599])
async def test_a_lasting_status_is_not_sent_again(fault_server: FaultServer, model: str, status: int) -> None:
    async with client(fault_server) as ours:
        fault_server.plan(model, then={"status": status})
        error = await call(ours, model)
        assert error
        assert error.status == status
        assert error.request_id == "req-fault"
        assert fault_server.hits(model) == 1


@pytest.mark.parametrize(
    ("step", "expected", "hits"),
    [
        ({"cut": "before"}, AmbiguousOutcome, 3),
        ({"raw": "nothing like HTTP\r\n\r\n"}, InvalidResponse, 1),
        ({"cut": "headers"}, AmbiguousOutcome, 1),
        ({"cut": "body"}, AmbiguousOutcome, 1),
        ({"text": "<html>Welcome to nginx"}, InvalidResponse, 1),
        ({"text": "plain words"}, InvalidResponse, 1),
        ({"text": ""}, InvalidResponse, 1),
        ({"text": '{"id": "chatcmpl-1", "choi'}, AmbiguousOutcome, 1),
        ({"json": [1, 2]}, InvalidResponse, 1),
        ({"json": {"id": "x", "choices": []}}, InvalidResponse, 1),
        ({"json": {"id": "x"}}, InvalidResponse, 1),
        ({"json": {"choices": [{"text": "a completion, but no chat"}]}}, InvalidResponse, 1),
        ({"json": {"error": {"message": "m", "code": "context_length_exceeded"}}}, RequestRejected, 1),
        ({"json": {"error": {"message": "m", "type": "overloaded_error"}}}, BackendUnavailable, 1),
        ({"json": {"error": {"message": "m", "code": 502}}}, BackendUnavailable, 1),
        ({"json": {"error": {"message": "m"}}}, InvalidResponse, 1),
        ({"json": {"error": "m"}}, InvalidResponse, 1),
        ({"status": 302, "headers": {"location": "https://elsewhere/"}, "text": ""}, InvalidResponse, 1),
    ],
)
async def test_a_bad_answer_has_its_error_and_its_number_of_sendings(
    fault_server: FaultServer, model: str, step: dict[str, Any], expected: type[BackendError], hits: int
) -> None:
    async with client(fault_server) as ours:
        fault_server.plan(model, then=step)
        error = await call(ours, model)
        assert isinstance(error, expected)
        assert "127.0.0.1" in str(error)
        assert fault_server.hits(model) == hits


async def test_a_request_is_never_sent_again_after_a_timeout(fault_server: FaultServer, model: str) -> None:
    async with client(fault_server, timeout=0.5) as ours:
        fault_server.plan(model, {}, then={"delay": 60})
        assert await call(ours, model) is None  # there is a connection now: no time goes into making one
        assert isinstance(await call(ours, model), AmbiguousOutcome)
        await eventually(lambda: fault_server.hits(model) == 2)


async def test_a_caller_who_must_not_pay_twice_has_nothing_unsure_sent_again(
    fault_server: FaultServer, model: str
) -> None:
    careful = CallOptions(resend_unsure=False)
    async with client(fault_server) as ours:
        for step, hits in (({"cut": "before"}, 1), ({"status": 504}, 1), ({"status": 503}, 3)):
            fault_server.plan(model, then=step)
            assert await call(ours, model, careful) is not None
            assert fault_server.hits(model) == hits


async def test_an_error_tells_of_an_earlier_sending_that_may_have_been_paid(
    fault_server: FaultServer, model: str
) -> None:
    async with client(fault_server) as ours:
        fault_server.plan(model, {"cut": "before"}, {"status": 400})
        error = await call(ours, model)
        assert type(error) is RequestRejected
        assert "sent 2 times" in str(error)
        fault_server.plan(model, {"status": 503}, {"status": 400})
        assert "times" not in str(await call(ours, model))


async def test_nobody_listening_is_tried_again_and_costs_nothing(waits: list[float]) -> None:
    gone = FaultServer()
    gone.stop()
    async with client(gone) as ours:
        assert type(await call(ours, "m")) is BackendUnavailable
    assert len(waits) == 2
    assert max(waits) <= 0.04


async def test_a_name_that_does_not_resolve_says_so() -> None:
    async with OpenAIClient("http://no-such-host.invalid/v1", "k", max_retries=0) as ours:
        error = await call(ours, "m")
    assert type(error) is BackendUnavailable
    assert "name cannot be resolved" in str(error)


async def test_tls_where_there_is_none_says_so_and_is_not_tried_again(
    fault_server: FaultServer, waits: list[float]
) -> None:
    async with OpenAIClient(fault_server.url.replace("http:", "https:"), "k", backoff_factor=30.0) as ours:
        error = await call(ours, "m")
        assert type(error) is BackendUnavailable
        assert "TLS failed" in str(error)
    assert waits == []


async def test_a_connection_that_the_server_closed_while_it_was_idle_costs_no_call(
    fault_server: FaultServer, model: str
) -> None:
    async with client(fault_server, max_retries=1) as ours:
        for _ in range(3):
            fault_server.plan(model, {}, {"cut": "before"})
            assert await call(ours, model) is None
            assert await call(ours, model) is None


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"retry-after": "1"}, 1.0, 1.2),
        ({"retry-after": "0.3"}, 0.3, 0.36),
        ({"retry-after-ms": "300", "retry-after": "60"}, 0.3, 0.36),
        ({"retry-after": "soon"}, 0.0, 0.02),
        ({"retry-after": "-5"}, 0.0, 0.02),
    ],
)
async def test_a_short_wait_is_obeyed_and_garbage_is_not(
    fault_server: FaultServer, model: str, waits: list[float], headers: dict[str, str], least: float, most: float
) -> None:
    async with client(fault_server) as ours:
        fault_server.plan(model, {"status": 429, "headers": headers})
        assert await call(ours, model) is None
    assert len(waits) == 1
    assert least <= waits[0] <= most


async def test_a_date_is_obeyed_too(fault_server: FaultServer, model: str, waits: list[float]) -> None:
    async with client(fault_server) as ours:
        now = 1_700_000_000  # both of the endpoint's clock
        headers = {"retry-after": formatdate(now + 1, usegmt=True), "date": formatdate(now, usegmt=True)}
        fault_server.plan(model, {"status": 503, "headers": headers})
        assert await call(ours, model) is None
    assert len(waits) == 1
    assert 1.0 <= waits[0] <= 1.2  # up to a fifth more, so that not all come back at once


@pytest.mark.parametrize("wait", ["86400", "60"])
async def test_a_long_wait_goes_up_and_is_not_slept(
    fault_server: FaultServer, model: str, waits: list[float], wait: str
) -> None:
    async with client(fault_server) as ours:
        fault_server.plan(model, then={"status": 429, "headers": {"retry-after": wait}})
        error = await call(ours, model)
        assert isinstance(error, RateLimited)
        assert error.retry_after == float(wait)
        assert fault_server.hits(model) == 1
    assert waits == []


async def test_a_wait_past_the_deadline_goes_up_at_once(
    fault_server: FaultServer, model: str, waits: list[float]
) -> None:
    async with client(fault_server) as ours:
        fault_server.plan(model, then={"status": 429, "headers": {"retry-after": "19"}})
        error = await call(ours, model, CallOptions(timeout=15.0))
        assert isinstance(error, RateLimited)
        assert error.retry_after == 19.0
        assert fault_server.hits(model) == 1
    assert waits == []


async def test_nothing_outlasts_the_callers_deadline(
    fault_server: FaultServer, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client(fault_server, timeout=3600.0) as ours:
        fault_server.plan(model, {}, then={"delay": 3600})
        assert await call(ours, model) is None  # there is a connection now: no time goes into making one
        assert isinstance(await call(ours, model, CallOptions(timeout=0.5)), AmbiguousOutcome)
        monkeypatch.setattr(TripRetry, "backoff_strategy", lambda _: 3600.0)
        fault_server.plan(model, then={"status": 503})
        error = await call(ours, model, CallOptions(timeout=1.5))  # it ends in a back-off: nothing is unsure
        assert type(error) is BackendUnavailable
        assert not ours.is_circuit_open


async def test_a_deadline_says_nothing_about_the_endpoint(fault_server: FaultServer, model: str) -> None:
    async with client(fault_server, circuit_breaker_fail_max=1) as ours:
        fault_server.plan(model, {}, {"delay": 60})
        assert await call(ours, model) is None
        assert isinstance(await call(ours, model, CallOptions(timeout=0.5)), AmbiguousOutcome)
        assert not ours.is_circuit_open
        assert await call(ours, model) is None


@pytest.mark.parametrize(
    ("status", "advice", "hits"), [(503, "false", 1), (400, "true", 3), (503, "maybe", 3), (400, "maybe", 1)]
)
async def test_the_endpoints_advice_wins_over_the_status(
    fault_server: FaultServer, model: str, status: int, advice: str, hits: int
) -> None:
    async with client(fault_server) as ours:
        fault_server.plan(model, then={"status": status, "headers": {"x-should-retry": advice}})
        assert await call(ours, model) is not None
        assert fault_server.hits(model) == hits


async def test_money_that_ran_out_is_final(fault_server: FaultServer, model: str) -> None:
    async with client(fault_server) as ours:
        body = {"error": {"message": "m", "type": "insufficient_quota", "code": "credit_balance_exhausted"}}
        fault_server.plan(model, then={"status": 429, "json": body})
        assert isinstance(await call(ours, model), QuotaExhausted)
        assert fault_server.hits(model) == 1


async def test_the_idempotency_key_is_equal_in_every_sending_and_differs_between_calls(
    fault_server: FaultServer, model: str
) -> None:
    async with client(fault_server) as ours:
        fault_server.plan(model, {"status": 503}, {"cut": "before"})
        assert await call(ours, model, CallOptions(idempotency_key="windfall-job-1")) is None
        assert await call(ours, model) is None
        assert await call(ours, model) is None
        keys = [request["headers"]["idempotency-key"] for request in fault_server.seen(model)]
        assert keys[:3] == ["windfall-job-1"] * 3
        assert len(set(keys[2:])) == 3


async def test_one_call_is_one_outcome_for_the_breaker_after_its_retries(fault_server: FaultServer, model: str) -> None:
    async with client(fault_server, circuit_breaker_fail_max=3) as ours:
        fault_server.plan(model, then={"status": 500})
        for _ in range(3):
            assert type(await call(ours, model)) is BackendUnavailable
        assert fault_server.hits(model) == 9
        assert ours.is_circuit_open
        assert isinstance(await call(ours, model), CircuitOpen)
        assert fault_server.hits(model) == 9


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429])
async def test_a_no_does_not_open_the_breaker(fault_server: FaultServer, model: str, status: int) -> None:
    async with client(fault_server, circuit_breaker_fail_max=1, max_retries=0) as ours:
        fault_server.plan(model, then={"status": status})
        assert await call(ours, model) is not None
        assert not ours.is_circuit_open


async def test_a_probe_is_sent_once(fault_server: FaultServer, model: str) -> None:
    ours = client(fault_server, circuit_breaker_fail_max=1, circuit_breaker_reset_timeout=0.2)
    async with ours:
        fault_server.plan(model, then={"status": 503})
        await call(ours, model)
        before = fault_server.hits(model)
        while isinstance(await call(ours, model), CircuitOpen):
            pass
        assert fault_server.hits(model) == before + 1


async def test_the_retry_budget_ends_a_storm(fault_server: FaultServer, model: str) -> None:
    never_open = {"circuit_breaker_fail_max": 10_000, "circuit_breaker_rate": FailureRate(min_calls=10_000)}
    async with client(fault_server, **never_open, max_retries=3, backoff_factor=0.0) as ours:
        fault_server.plan(model, then={"status": 503})
        ours._budget = RetryBudget("storm", None, clock=FakeClock())  # no second goes by, which would give ten more
        calls = 150
        for _ in range(calls):
            await call(ours, model)
        assert calls < fault_server.hits(model) <= calls + 100 + 0.2 * calls


async def test_the_right_key_is_needed_and_asked_for_once(fault_server: FaultServer, model: str) -> None:
    async with client(fault_server) as ours:
        fault_server.plan(model, then={"status": 401})
        error = await call(ours, model)
        assert isinstance(error, AuthenticationFailed)
        assert "check the key" in str(error)
        assert fault_server.hits(model) == 1
