"""Who starts when."""

from __future__ import annotations

import random

import pytest

from windfall_worker.engine.scheduler import LEAST_PREFIX, Scheduler, Start

BEGINNING = list(range(1000, 1000 + 2 * LEAST_PREFIX))


def starts(scheduler: Scheduler) -> list[int]:
    return [start.id for start in scheduler.admit()]


def test_sequences_start_in_the_order_in_which_they_came_and_no_more_than_slots() -> None:
    scheduler = Scheduler(2, 10_000)
    for number in range(4):
        scheduler.add(number, [1, 2, 3], 100)
    assert starts(scheduler) == [0, 1]
    assert (scheduler.active, scheduler.waiting, scheduler.free_slots) == (2, 2, 0)
    assert starts(scheduler) == []
    scheduler.remove(0)
    assert starts(scheduler) == [2]


def test_a_waiting_sequence_can_be_removed() -> None:
    scheduler = Scheduler(1, 10_000)
    for number in range(3):
        scheduler.add(number, [1], 10)
    assert starts(scheduler) == [0]
    scheduler.remove(1)
    scheduler.remove(0)
    scheduler.remove(99)
    assert starts(scheduler) == [2]


def test_free_slots_count_what_waits() -> None:
    scheduler = Scheduler(4, 10_000)
    scheduler.add(1, [1], 10)
    assert scheduler.free_slots == 3


def test_a_batch_costs_its_rows_times_its_longest() -> None:
    scheduler = Scheduler(8, 4 * 1024)
    scheduler.add(0, [1], 1024)
    for number in range(1, 6):
        scheduler.add(number, [1], 10)
    assert starts(scheduler) == [0, 1, 2, 3]


def test_what_never_fits_is_an_error() -> None:
    scheduler = Scheduler(8, 1024)
    assert scheduler.fits_alone(1024)
    assert not scheduler.fits_alone(1025)
    with pytest.raises(ValueError, match="never fits"):
        scheduler.add(1, [1], 1025)


def test_a_large_one_lets_as_many_pass_as_there_are_slots_and_then_all_wait_for_it() -> None:
    scheduler = Scheduler(4, 2048)
    scheduler.add(0, [1], 200)
    scheduler.add(1, [1], 2000)
    for number in range(2, 20):
        scheduler.add(number, [1], 200)
    order = starts(scheduler)
    while scheduler.active or scheduler.waiting:
        scheduler.remove(order[-scheduler.active])
        order += starts(scheduler)
    assert order[:5] == [0, 2, 3, 4, 5]
    assert order[5] == 1
    assert sorted(order) == list(range(20))


def test_of_those_who_share_a_prefix_one_computes_it_and_the_others_wait() -> None:
    scheduler = Scheduler(8, 100_000)
    for number in range(3):
        scheduler.add(number, [*BEGINNING, number, 7], 200)
    scheduler.add(9, [5, 5], 200)
    assert scheduler.admit() == [Start(0, len(BEGINNING)), Start(9, 0)]
    assert scheduler.admit() == []
    scheduler.shared(0)
    assert scheduler.admit() == [Start(1, len(BEGINNING)), Start(2, len(BEGINNING))]


def test_when_the_one_who_computes_leaves_another_does() -> None:
    scheduler = Scheduler(8, 100_000)
    for number in range(3):
        scheduler.add(number, [*BEGINNING, number, 7], 200)
    assert starts(scheduler) == [0]
    scheduler.remove(0)
    assert scheduler.admit() == [Start(1, len(BEGINNING))]


def test_jobs_of_one_prefix_are_brought_together() -> None:
    scheduler = Scheduler(1, 100_000)
    other = [value + 1 for value in BEGINNING]
    for number in range(6):
        scheduler.add(number, [*(BEGINNING if number % 2 else other), number, 7], 200)
    order: list[int] = []
    while scheduler.waiting:
        order += starts(scheduler)
        scheduler.shared(order[-1])
        scheduler.remove(order[-1])
    # With one slot each may be overtaken once: 2 goes before 1, and then 1 must not wait longer.
    assert order[:3] == [0, 2, 1]
    assert sorted(order) == list(range(6))


def test_the_prefix_that_saves_most_is_chosen() -> None:
    scheduler = Scheduler(16, 100_000)
    long = BEGINNING + list(range(500))
    scheduler.add(0, [*long, 1], 1000)
    for number in range(1, 4):
        scheduler.add(number, [*long, number, 7], 1000)
    for number in range(4, 9):
        scheduler.add(number, [*BEGINNING, -number, 7], 1000)
    assert scheduler.admit() == [Start(0, len(long))]


def test_a_full_batch_takes_several_new_sequences_together_but_lets_none_wait_long() -> None:
    scheduler = Scheduler(16, 100_000)
    for number in range(40):
        scheduler.add(number, [1], 10)
    assert starts(scheduler) == list(range(16))
    scheduler.remove(0)
    assert starts(scheduler) == []
    scheduler.remove(1)
    assert starts(scheduler) == [16, 17]
    scheduler.remove(2)
    calls = [starts(scheduler) for _ in range(9)]
    assert calls == [[]] * 8 + [[18]]


def test_who_comes_to_an_engine_with_room_starts_at_once() -> None:
    scheduler = Scheduler(16, 100_000)
    for number in range(15):
        scheduler.add(number, [1], 10)
    assert len(starts(scheduler)) == 15
    scheduler.add(15, [1], 10)
    assert starts(scheduler) == [15]


def test_a_prefix_shorter_than_the_least_is_not_shared() -> None:
    scheduler = Scheduler(8, 100_000)
    for number in range(3):
        scheduler.add(number, [*BEGINNING[: LEAST_PREFIX - 1], number, number, 7], 200)
    assert scheduler.admit() == [Start(0, 0), Start(1, 0), Start(2, 0)]


def test_the_last_token_of_a_prompt_is_never_shared() -> None:
    scheduler = Scheduler(8, 100_000)
    scheduler.add(0, BEGINNING, 200)
    scheduler.add(1, BEGINNING, 200)
    assert scheduler.admit() == [Start(0, len(BEGINNING) - 1)]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_everybody_starts_once_and_memory_is_never_overdrawn(seed: int) -> None:
    rng = random.Random(seed)
    scheduler, reserves = Scheduler(rng.randint(1, 6), 4096), {}
    running: list[int] = []
    began: list[int] = []
    for number in range(60):
        reserves[number] = rng.choice([10, 300, 1500, 4096])
        prefix = rng.choice([[], BEGINNING, BEGINNING[:80], [*BEGINNING, *BEGINNING]])
        scheduler.add(number, [*prefix, rng.randint(0, 3), 1], reserves[number])
    while scheduler.waiting or running:
        for start in scheduler.admit():
            running.append(start.id)
            began.append(start.id)
        assert len(running) <= scheduler.slots
        assert len(running) * max(reserves[number] for number in running) <= 4096
        chosen = rng.choice(running)
        if rng.random() < 0.5:
            scheduler.shared(chosen)
        else:
            running.remove(chosen)
            scheduler.remove(chosen)
    assert sorted(began) == list(range(60))
