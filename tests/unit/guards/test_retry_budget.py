"""The retry budget and the cool-down of one process."""

from __future__ import annotations

from helpers.fake_clock import FakeClock
from windfall_worker.guards.cooldown import Cooldown
from windfall_worker.guards.retry_budget import RetryBudget


async def granted(budget: RetryBudget, wanted: int) -> int:
    return sum([await budget.take() for _ in range(wanted)])


async def test_a_budget_begins_full_and_ends() -> None:
    budget = RetryBudget("x", None, per_second=1.0, seconds=10.0)
    assert await granted(budget, 50) == 10


async def test_every_call_adds_a_fifth_of_a_retry() -> None:
    budget = RetryBudget("x", None, per_second=0.001, seconds=10_000.0)
    assert await granted(budget, 50) == 10
    for _ in range(20):
        budget.count_call()
    assert await granted(budget, 50) == 4


async def test_time_fills_the_budget() -> None:
    clock = FakeClock()
    budget = RetryBudget("x", None, per_second=50.0, seconds=0.1, clock=clock)
    assert await granted(budget, 50) == 5
    clock.advance(0.0625)
    assert await granted(budget, 50) == 3


async def test_a_budget_never_holds_more_than_its_most() -> None:
    budget = RetryBudget("x", None, per_second=1.0, seconds=10.0)
    for _ in range(10_000):
        budget.count_call()
    assert await granted(budget, 50) == 10


async def test_a_cool_down_ends_by_itself_and_is_only_made_longer() -> None:
    clock = FakeClock()
    cooldown = Cooldown("x", None, clock=clock)
    assert await cooldown.left() == 0
    await cooldown.start(20)
    await cooldown.start(1)
    assert await cooldown.left() == 20
    clock.advance(20)
    assert await cooldown.left() == 0
