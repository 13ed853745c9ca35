"""Tokens, in every format that an endpoint counts them in."""

from __future__ import annotations

from typing import Any

import pytest

from windfall.result import Usage
from windfall_worker.cloud.usage import usage_in, usage_of


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2}, (3, 2, 0, 0)),
        ({"prompt_tokens": 3.0, "completion_tokens": "2"}, (3, 2, 0, 0)),
        ({"prompt_tokens": 2.2, "completion_tokens": None}, (3, 0, 0, 0)),
        ({"prompt_tokens": -3, "completion_tokens": float("nan")}, (0, 0, 0, 0)),
        ({"prompt_tokens": 1e300, "completion_tokens": [2]}, (0, 0, 0, 0)),
        ({"prompt_tokens": 3, "prompt_tokens_details": None, "completion_tokens_details": 5}, (3, 0, 0, 0)),
        ({"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 1}}, (3, 0, 1, 0)),
        ({"prompt_tokens": 3, "prompt_cache_hit_tokens": 1}, (3, 0, 1, 0)),
        ({"prompt_tokens": 3, "cached_tokens": 1}, (3, 0, 1, 0)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 9}, (3, 6, 0, 4)),
        ({"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 9}, (3, 0, 0, 0)),
        (
            {"prompt_tokens": 3, "completion_tokens": 6, "completion_tokens_details": {"reasoning_tokens": 4}},
            (3, 6, 0, 4),
        ),
        ({"input_tokens": 3, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 1}, (6, 0, 2, 0)),
        ({"output_tokens": 3, "output_tokens_details": {"thinking_tokens": 2}}, (0, 3, 0, 2)),
    ],
)
def test_what_is_said_is_counted(said: dict[str, Any], expected: tuple[int, ...]) -> None:
    prompt, completion, cached, reasoning = expected
    assert usage_of(said) == Usage(
        prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached, reasoning_tokens=reasoning
    )


COUNTED = {"prompt_tokens": 3, "completion_tokens": 2}


@pytest.mark.parametrize(
    "answer",
    [
        {"usage": COUNTED},
        {"message": {"usage": COUNTED}},
        {"x_groq": {"usage": COUNTED}},
        {"choices": [{"usage": COUNTED}]},
        {"usage": None, "choices": [{"usage": COUNTED}]},
    ],
)
def test_it_is_found_wherever_it_is(answer: dict[str, Any]) -> None:
    assert usage_in(answer) == Usage(prompt_tokens=3, completion_tokens=2)


@pytest.mark.parametrize(
    "answer", [None, [], "usage", {}, {"usage": 5}, {"choices": 5}, {"choices": [5]}, {"message": "a"}]
)
def test_nothing_is_found_in_what_has_none(answer: Any) -> None:
    assert usage_in(answer) is None
