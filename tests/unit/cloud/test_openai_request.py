"""What an endpoint of OpenAI's protocol gets of a request, and what is left out for its sake."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.requests import request
from windfall.errors import UnsupportedParameter
from windfall.request import CompletionRequest
from windfall_worker.cloud.anthropic import AnthropicClient
from windfall_worker.cloud.openai import OpenAIClient
from windfall_worker.cloud.openai_request import chat_fields
from windfall_worker.cloud.provider import ProviderClient

MARK = {"type": "ephemeral"}
TURN = {
    "role": "assistant",
    "content": "so",
    "reasoning": "hm",
    "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
    "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}],
}
MARKED: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "long", "cache_control": MARK}]},
        {"role": "user", "content": "hi", "cache_control": MARK},
        TURN,
        {"role": "user", "content": [{"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}}]},
    ],
    "tools": [{"type": "function", "function": {"name": "f"}, "cache_control": MARK}],
}


def client(kind: type[ProviderClient], url: str = "https://api.example/v1") -> ProviderClient:
    return kind(url, None)


def test_openais_own_api_gets_no_other_vendors_fields_and_the_result_names_them() -> None:
    asked, own = CompletionRequest.model_validate(MARKED), client(OpenAIClient, "https://api.openai.com/v1")
    sent = chat_fields(asked, own.known_fields)
    assert sent["messages"][:3] == [
        {"role": "system", "content": "long"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "so"},
    ]
    assert sent["messages"][3]["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit"}
    assert sent["tools"] == [{"type": "function", "function": {"name": "f"}}]
    assert own.ignored(asked) == ("cache_control", "reasoning", "reasoning_details", "thinking_blocks")


def test_a_gateway_gets_them_and_not_openais_own() -> None:
    asked, other = CompletionRequest.model_validate(MARKED), client(OpenAIClient)
    sent = chat_fields(asked, other.known_fields)
    assert sent["messages"][:3] == MARKED["messages"][:3]
    assert sent["messages"][3]["content"] == "x"
    assert sent["tools"] == MARKED["tools"]
    assert other.ignored(asked) == ("prompt_cache_breakpoint",)


def test_anthropics_api_gets_marks_and_signatures() -> None:
    asked, anthropic = CompletionRequest.model_validate(MARKED), client(AnthropicClient)
    assert anthropic.ignored(asked) == ("prompt_cache_breakpoint", "reasoning", "reasoning_details")


def test_metadata_goes_to_openai_with_what_it_stores_alone() -> None:
    own, other = (client(OpenAIClient, f"https://api.{name}/v1").known_fields for name in ("openai.com", "example"))
    asked = request(store=True, metadata={"a": "b"})
    assert chat_fields(asked, own)["metadata"] == {"a": "b"}
    assert "metadata" not in chat_fields(asked, other)
    assert "metadata" not in chat_fields(request(metadata={"a": "b"}), own)


def test_a_bias_that_is_whole_is_sent_as_a_whole_number() -> None:
    biases = chat_fields(request(logit_bias={"1": -100, "2": 0.5}), frozenset())["logit_bias"]
    assert [(type(bias), bias) for bias in biases.values()] == [(int, -100), (float, 0.5)]


def test_a_body_of_anthropics_is_translated_and_what_is_lost_is_named() -> None:
    body = {"messages": MARKED["messages"][1:2], "system": MARKED["messages"][0]["content"], "service_tier": "auto"}
    body["messages"] = [{"role": "user", "content": "hi"}]
    asked = CompletionRequest.from_anthropic({"model": "m", "max_tokens": 5} | body)
    other = client(OpenAIClient)
    assert chat_fields(asked, other.known_fields) == {
        "messages": [{"role": "system", "content": "long"}, {"role": "user", "content": "hi"}],
        "max_tokens": 5,
    }
    assert other.ignored(asked) == ("cache_control", "service_tier")
    assert client(AnthropicClient).ignored(asked) == ()


def test_what_it_cannot_say_is_refused_by_name() -> None:
    asked = CompletionRequest.from_anthropic(
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "container": "c"}
    )
    with pytest.raises(UnsupportedParameter, match=r"'container'.*only Anthropic's API has containers"):
        chat_fields(asked, frozenset())
