"""The contract of a request: what is taken, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from helpers.requests import request
from windfall import CompletionRequest, Route


def refused(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        request(**fields)
    return str(caught.value)


def test_everything_of_openais_body_that_mlx_can_do_is_taken() -> None:
    body = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "hi"}], "name": "ann"},
            {
                "role": "assistant",
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "content": "4", "tool_call_id": "1"},
        ],
        "max_completion_tokens": 5,
        "temperature": 0,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "stop": ["\n"],
        "seed": 0,
        "n": 1,
        "logprobs": True,
        "top_logprobs": 3,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "repetition_penalty": 1.1,
        "logit_bias": {"50256": -100},
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "chat_template_kwargs": {"enable_thinking": False},
    }
    asked = CompletionRequest.model_validate({**body, "route": "local", "priority": 3, "deadline": 60})
    assert asked.body() == body
    assert (asked.route, asked.token_limit, asked.stop_words) == (Route.LOCAL, 5, ("\n",))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user"}]}, "content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "tool_call_id"),
        ({"model": ""}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "differ"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"n": 0}, "n"),
        ({"stop": [""]}, "stop"),
        ({"stop": ["x"] * 33}, "stop holds 33 strings; the limit is 32"),
        ({"stop": [f"s{n}" for n in range(600_000)]}, "stop holds 600,000 strings"),
        ({"stop": "x" * 257}, "stop holds a string of 257 characters; the limit is 256"),
        ({"logit_bias": {"hello": 1}}, "'hello' is not a token id"),
        ({"logit_bias": {"9" * 5000: 1}}, "is not a token id"),
        ({"logit_bias": {"²": 1}}, "is not a token id"),
        ({"logit_bias": {str(n): 1 for n in range(1025)}}, "logit_bias holds 1,025 tokens; the limit is 1,024"),
        ({"priority": 10}, "priority"),
        ({"deadline": 0}, "deadline"),
        ({"temprature": 1}, "temprature"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_what_cannot_be_is_refused_by_name(fields: dict[str, object], named: str) -> None:
    assert named in refused(**fields)


def test_a_body_of_anthropics_survives_being_written_out_in_full() -> None:
    params = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
    asked = CompletionRequest.from_anthropic(params, route="cloud", custom_id="a")
    assert CompletionRequest.model_validate_json(asked.model_dump_json()).anthropic == asked.anthropic
    assert (asked.route, asked.custom_id, asked.token_limit, asked.messages) == (Route.CLOUD, "a", 5, ())


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (
            {"anthropic": {"messages": [{"role": "user", "content": "x"}]}, "stop": "a"},
            "stop cannot be given beside it",
        ),
        ({"anthropic": {"messages": []}}, "anthropic.messages"),
        ({"anthropic": {"messages": [{"role": "user", "content": "x"}], "model": "m"}}, "anthropic.model"),
        ({}, "messages"),
    ],
)
def test_a_body_is_openais_or_anthropics_and_whole(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        CompletionRequest.model_validate({"model": "m", **fields})


def test_a_request_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        request().model = "other"  # type: ignore[misc]


def test_zero_is_not_taken_for_nothing() -> None:
    assert request(temperature=0, seed=0).body()["temperature"] == 0
    assert request(seed=0).body()["seed"] == 0
