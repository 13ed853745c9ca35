"""How many jobs a worker claims ahead of its free slots."""

from __future__ import annotations

from windfall_worker.backends.capacity import Capacity, Slot


def after(held_for: float, *, slots: int = 64, round_trip: float = 0.005) -> Capacity:
    """A capacity through which jobs of that length have gone, all slots at a time, beginning and ending together."""
    capacity = Capacity(slots)
    for _ in range(100):
        capacity.observe_round_trip(round_trip)
    for _ in range(4):
        for _ in range(slots):
            capacity.take()
        for _ in range(slots):
            capacity.give(held_for)
    return capacity


def test_long_jobs_that_end_together_are_no_high_rate() -> None:
    assert after(5.0).prefetch == 0
    assert after(5.0, round_trip=0.03).free == 64


def test_as_many_jobs_are_claimed_ahead_as_end_during_two_round_trips() -> None:
    assert after(0.5, round_trip=0.01).prefetch == 2


def test_a_whole_set_of_short_jobs_is_claimed_ahead() -> None:
    assert after(0.1, slots=32).prefetch == 32


def test_what_is_handed_back_says_nothing_of_how_long_jobs_take() -> None:
    slow = after(60.0)
    for _ in range(200):
        Slot(slow).leave(ended=False)
    assert (slow.held, slow.prefetch, slow.free) == (0, 0, 64)
    new = Capacity(32)
    for _ in range(32):
        Slot(new).leave(ended=False)
    assert (new.free, new.wake.is_set()) == (32, True)


def test_a_seat_frees_its_place_once() -> None:
    capacity, cloud = Capacity(2), Capacity(2)
    slot = Slot(capacity)
    slot.move(cloud)
    assert (capacity.held, cloud.held) == (0, 1)
    slot.leave()
    slot.leave()
    assert cloud.held == 0


def test_a_place_that_frees_wakes_who_claims() -> None:
    capacity = Capacity(1)
    Slot(capacity).leave()
    assert capacity.wake.is_set()


def test_a_place_that_frees_before_empty_lanes_wakes_nobody_until_something_is_heard() -> None:
    capacity = Capacity(1)
    capacity.lanes_empty = True
    Slot(capacity).leave()
    assert not capacity.wake.is_set()
    capacity.hear()
    assert capacity.wake.is_set()
    assert not capacity.lanes_empty
