"""The breaker without a Redis: one process, pybreaker's machine, our rules."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pybreaker
import pytest

from helpers.fake_clock import FakeClock
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
from windfall_worker.guards.breaker import Breaker, CircuitOpen, FailureRate

RESET = 15.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> Callable[..., Breaker]:
    """Makes breakers that go by the clock of the test."""
    numbers = {"fail_max": 3, "reset_timeout": RESET}

    def make(**more: Any) -> Breaker:
        return Breaker("test", None, clock=clock, **(numbers | more))

    return make


async def end_with(breaker: Breaker, exc: BaseException | None) -> None:
    """One guarded call that ends like this."""
    try:
        async with breaker.guard():
            if exc is not None:
                raise exc  # noqa: TRY301 - ending the guarded block is what this is for
    except BaseException as caught:
        if caught is not exc:
            raise


async def trip(breaker: Breaker) -> None:
    for _ in range(3):
        await end_with(breaker, BackendUnavailable("down"))


async def test_it_opens_after_so_many_failures_and_says_when_to_come_back(breaker: Callable[..., Breaker]) -> None:
    guarded = breaker()
    await trip(guarded)
    with pytest.raises(CircuitOpen) as caught:
        await end_with(guarded, None)
    assert 0 < caught.value.retry_after <= RESET
    assert caught.value.kind == "circuit_open"
    assert isinstance(caught.value, pybreaker.CircuitBreakerError)
    assert isinstance(caught.value, BackendUnavailable)
    assert guarded.is_open


async def test_a_success_ends_a_row_of_failures(breaker: Callable[..., Breaker]) -> None:
    guarded = breaker()
    for _ in range(4):
        await end_with(guarded, BackendUnavailable("down"))
        await end_with(guarded, BackendUnavailable("down"))
        assert (await guarded.status()).failures == 2
        await end_with(guarded, None)
        assert (await guarded.status()).failures == 0
    assert (await guarded.status()).state == "closed"


async def test_a_no_of_the_endpoint_ends_a_row_of_failures_too(breaker: Callable[..., Breaker]) -> None:
    guarded = breaker()
    for exc in (BackendUnavailable("down"), BackendUnavailable("down"), RequestRejected("no")):
        await end_with(guarded, exc)
    assert (await guarded.status()).failures == 0


async def every_other(breaker: Breaker, calls: int) -> None:
    """So many calls of which every other fails, the last one too."""
    for number in range(calls):
        await end_with(breaker, BackendUnavailable("down") if (calls - number) % 2 else None)


async def test_half_of_enough_calls_failing_opens_it(breaker: Callable[..., Breaker]) -> None:
    guarded = breaker()
    await every_other(guarded, 19)
    assert (await guarded.status()).state == "closed"
    await every_other(guarded, 2)
    assert (await guarded.status()).state == "open"


async def test_fewer_failures_than_the_rate_never_open_it(breaker: Callable[..., Breaker]) -> None:
    guarded = breaker()
    for _ in range(100):
        for exc in (None, BackendUnavailable("down"), None):
            await end_with(guarded, exc)
    assert (await guarded.status()).state == "closed"


async def test_calls_older_than_the_window_do_not_count(breaker: Callable[..., Breaker], clock: FakeClock) -> None:
    guarded = breaker(rate=FailureRate(0.5, window=5.0, min_calls=20))
    for _ in range(1000):
        await end_with(guarded, None)
    clock.advance(5.1)
    await every_other(guarded, 19)
    assert (await guarded.status()).state == "closed"
    clock.advance(5.1)
    await every_other(guarded, 19)  # as many again, but none of the others
    assert (await guarded.status()).state == "closed"
    await every_other(guarded, 2)
    assert (await guarded.status()).state == "open"


@pytest.mark.parametrize(
    "exc",
    [
        BackendUnavailable("x"),
        AmbiguousOutcome("x"),
        InvalidResponse("x"),
        ConnectionError("x"),
        TimeoutError("x"),
        OSError("x"),
    ],
    ids=lambda exc: type(exc).__name__,
)
async def test_what_says_that_the_endpoint_is_broken_counts(exc: Exception, breaker: Callable[..., Breaker]) -> None:
    guarded = breaker()
    await end_with(guarded, exc)
    assert (await guarded.status()).failures == 1


@pytest.mark.parametrize(
    "exc",
    [
        RequestRejected("x"),
        AuthenticationFailed("x"),
        QuotaExhausted("x"),
        RateLimited("x"),
        CircuitOpen("another", 1.0),
        ValueError("a bug of ours"),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
    ],
    ids=lambda exc: type(exc).__name__,
)
async def test_what_does_not_say_so_does_not_count(exc: BaseException, breaker: Callable[..., Breaker]) -> None:
    guarded = breaker()
    for _ in range(5):
        await end_with(guarded, exc)
    assert (await guarded.status()).failures == 0


async def test_of_fifty_waiting_calls_exactly_one_is_the_probe(
    breaker: Callable[..., Breaker], clock: FakeClock
) -> None:
    guarded = breaker()
    await trip(guarded)
    clock.advance(RESET)
    entered = 0
    go = asyncio.Event()

    async def call() -> None:
        nonlocal entered
        async with guarded.guard():
            entered += 1
            await go.wait()

    calls = [asyncio.create_task(call()) for _ in range(50)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    go.set()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert entered == 1
    assert sum(isinstance(end, CircuitOpen) for end in ends) == 49
    assert (await guarded.status()).state == "closed"


async def test_a_probe_that_fails_opens_it_for_another_period(
    breaker: Callable[..., Breaker], clock: FakeClock
) -> None:
    guarded = breaker()
    await trip(guarded)
    clock.advance(RESET)
    await end_with(guarded, BackendUnavailable("still down"))
    with pytest.raises(CircuitOpen):
        await end_with(guarded, None)


@pytest.mark.parametrize("answered", [RequestRejected("no"), RateLimited("later")], ids=lambda exc: type(exc).__name__)
async def test_a_probe_that_is_told_no_has_found_the_endpoint_alive(
    answered: BackendError, breaker: Callable[..., Breaker], clock: FakeClock
) -> None:
    guarded = breaker()
    await trip(guarded)
    clock.advance(RESET)
    await end_with(guarded, answered)
    assert (await guarded.status()).state == "closed"


@pytest.mark.parametrize("nothing", [asyncio.CancelledError(), ValueError("a bug")], ids=lambda exc: type(exc).__name__)
async def test_a_probe_that_learned_nothing_is_given_back(
    nothing: BaseException, breaker: Callable[..., Breaker], clock: FakeClock
) -> None:
    guarded = breaker()
    await trip(guarded)
    clock.advance(RESET)
    await end_with(guarded, nothing)
    assert (await guarded.status()).state == "half-open"
    await end_with(guarded, None)  # the next call is the probe
    assert (await guarded.status()).state == "closed"


async def test_a_late_outcome_of_an_earlier_period_changes_nothing(
    breaker: Callable[..., Breaker], clock: FakeClock
) -> None:
    guarded = breaker(fail_max=1)
    late = asyncio.Event()

    async def slow() -> None:
        async with guarded.guard():
            await late.wait()
            raise BackendUnavailable("late")

    call = asyncio.create_task(slow())
    await asyncio.sleep(0)
    await end_with(guarded, BackendUnavailable("down"))
    clock.advance(RESET)
    await end_with(guarded, None)
    assert (await guarded.status()).state == "closed"
    late.set()
    with pytest.raises(BackendUnavailable):
        await call
    assert (await guarded.status()).state == "closed"


async def test_cancelling_a_guarded_call_stays_a_cancellation(breaker: Callable[..., Breaker]) -> None:
    guarded = breaker()

    async def slow() -> None:
        async with guarded.guard():
            await asyncio.sleep(60)

    call = asyncio.create_task(slow())
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_pybreakers_listeners_hear_of_every_change(breaker: Callable[..., Breaker], clock: FakeClock) -> None:
    heard: list[str] = []

    class Listener(pybreaker.CircuitBreakerListener):
        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:  # noqa: ARG002 - pybreaker's names
            heard.append(f"{old_state.name} -> {new_state.name}")

    guarded = breaker(listeners=[Listener()])
    await trip(guarded)
    clock.advance(RESET)
    await end_with(guarded, None)
    assert heard == ["closed -> open", "open -> half-open", "half-open -> closed"]


async def test_every_change_of_state_is_in_the_log(
    caplog: pytest.LogCaptureFixture, breaker: Callable[..., Breaker], clock: FakeClock
) -> None:
    guarded = breaker()
    with caplog.at_level(logging.INFO):
        await trip(guarded)
        clock.advance(RESET)
        await end_with(guarded, None)
    levels = [(record.levelname, record.getMessage().partition(" was ")[2]) for record in caplog.records]
    assert levels == [
        ("WARNING", "closed and is open"),
        ("INFO", "open and is half-open"),
        ("INFO", "half-open and is closed"),
    ]


@pytest.mark.parametrize("field", [{"window": 0}, {"min_calls": 0}, {"share": 0}, {"share": 1.1}])
def test_a_rate_that_makes_no_sense_is_refused(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be greater than 0"):
        FailureRate(**field)  # type: ignore[arg-type]  # the point of it


@pytest.mark.parametrize("number", ["fail_max", "reset_timeout", "probe_lease"])
def test_a_number_that_makes_no_sense_is_named(number: str, breaker: Callable[..., Breaker]) -> None:
    with pytest.raises(ValueError, match=number):
        breaker(**{number: 0})


def test_only_one_module_imports_pybreaker() -> None:
    package = Path(sys.modules["windfall_worker"].__file__ or "").parent
    importers = [path.name for path in package.rglob("*.py") if "import pybreaker" in path.read_text()]
    assert importers == ["breaker.py"]


def test_the_command_line_can_show_breakers_without_the_workers_dependencies() -> None:
    program = (
        "import sys; import windfall_worker.guards.circuit, windfall_worker.guards.cooldown;"
        "sys.exit(sorted({'pybreaker', 'httpx', 'httpx_retries', 'mlx'} & sys.modules.keys()) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
