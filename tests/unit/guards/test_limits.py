"""How a limit refills, found out from what answers say."""

from __future__ import annotations

import pytest

from faultserver.rates import Limit
from helpers.fake_clock import FakeClock
from windfall_worker.guards.limits import Refill, Told


def answers(*, window: bool, gaps: list[float], most: float = 100, period: float = 60.0) -> float | None:
    """What is known of the refill after calls with so many seconds between them."""
    clock, refill, known = FakeClock(), Refill(), None
    limit = Limit(most, period, window, clock)
    for gap in gaps:
        clock.advance(gap)
        limit.fill()
        limit.left = max(0.0, limit.left - 1)
        known = refill.period(Told("r", most, limit.left, limit.reset), clock())
    return known


BURST, EVEN, BUSY = [0.05] * 60, [0.6] * 300, [0.3] * 500


@pytest.mark.parametrize("gaps", [BURST, EVEN, BUSY], ids=["burst", "even", "busy"])
def test_a_token_bucket_is_recognised_with_its_period(gaps: list[float]) -> None:
    found = answers(window=False, gaps=gaps)
    if gaps is EVEN:  # never more than one call is missing from it, which says little
        assert found is None or found == pytest.approx(60, rel=0.1)
    else:
        assert found == pytest.approx(60, rel=0.1)


@pytest.mark.parametrize("gaps", [BURST, EVEN, BUSY], ids=["burst", "even", "busy"])
def test_a_fixed_window_is_not_taken_for_a_bucket(gaps: list[float]) -> None:
    assert answers(window=True, gaps=gaps) == 0


def test_the_first_answer_says_nothing_yet() -> None:
    assert Refill().period(Told("r", 60, 40, 20.0), 0.0) is None


def test_an_answer_without_a_reset_says_nothing() -> None:
    assert Refill().period(Told("r", 60, 40), 0.0) is None
