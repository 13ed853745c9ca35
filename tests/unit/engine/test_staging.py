"""Which prompts are computed together."""

from __future__ import annotations

import random

import pytest

from windfall_worker.engine.staging import Staging


def staging(*lengths: int) -> Staging:
    made = Staging(step=512, budget=4096)
    for number, length in enumerate(lengths):
        made.add(number, length)
    return made


def test_prompts_of_like_length_are_computed_together_the_oldest_first() -> None:
    made = staging(10, 2000, 60, 1900, 800)
    assert made.take() == [0, 2]
    assert made.take() == [1, 3]
    assert made.take() == [4]
    assert made.take() == []


def test_a_step_computes_no_more_than_its_budget() -> None:
    made = staging(*[1000] * 10)
    assert (len(made.take()), len(made.take())) == (8, 2)


def test_one_prompt_beyond_the_budget_is_computed_by_itself() -> None:
    made = Staging(step=8192, budget=4096)
    made.add(1, 8000)
    made.add(2, 8000)
    assert made.take() == [1]


def test_who_left_is_not_taken() -> None:
    made = staging(10, 20)
    made.discard(0)
    made.discard(77)
    assert (len(made), made.take()) == (1, [1])


@pytest.mark.parametrize("seed", range(10))
def test_everybody_is_taken_once_and_little_is_padding(seed: int) -> None:
    rng = random.Random(seed)
    lengths = [round(10 ** rng.uniform(0, 3.5)) for _ in range(100)]
    made, taken = staging(*lengths), []
    while group := made.take():
        taken += group
        some = [lengths[number] for number in group]
        assert max(some) <= 64 or min(some) >= 0.75 * max(some)
    assert sorted(taken) == list(range(100))
