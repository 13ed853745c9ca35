"""OpenAI's answers, whole and in chunks, as completions."""

from __future__ import annotations

from typing import Any

import pytest

from windfall.errors import BackendUnavailable, InvalidResponse
from windfall.result import Delta, Usage
from windfall_worker.cloud.completion import ChunkCollector, completion_of


def answer(message: dict[str, Any], **choice: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"message": message, **choice}]}


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def test_everything_that_the_contract_has_is_taken_over() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, "index": 0}
    logprob = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    made = completion_of(
        {
            "model": "m",
            "choices": [
                {
                    "message": {"content": "a", "reasoning_content": "r", "refusal": "no", "tool_calls": [call]},
                    "finish_reason": "tool_calls",
                    "logprobs": {"content": [logprob]},
                }
            ],
            "usage": {
                "prompt_tokens": 4,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 1},
            },
        },
        request_id="req",
    )
    assert (made.content, made.reasoning, made.refusal, made.model) == ("a", "r", "no", "m")
    assert made.tool_calls[0].function.name == "f"
    assert made.usage == Usage(prompt_tokens=4, completion_tokens=3, cached_tokens=2, reasoning_tokens=1)
    assert made.logprobs
    assert made.logprobs[0].logprob == -0.5
    assert made.request_id == "req"


@pytest.mark.parametrize(
    "message",
    [
        {"content": 5},
        {"content": [{"type": "image", "url": "x"}]},
        {"content": ["a", 5]},
        {"content": "a", "tool_calls": [{"id": "c"}]},
        {"content": "a", "tool_calls": [{}]},
        {"content": "a", "tool_calls": 5},
        {"content": "a", "annotations": 5},
        {"content": "a", "reasoning_details": ["a"]},
        {"content": "a", "reasoning": 5},
    ],
)
def test_an_answer_of_another_shape_is_an_invalid_response_that_does_not_repeat_it(message: dict[str, Any]) -> None:
    with pytest.raises(InvalidResponse) as caught:
        completion_of(answer(message))
    assert "input_value" not in str(caught.value)


def test_chunks_are_put_together() -> None:
    collector = ChunkCollector()
    deltas = [
        collector.add(one)
        for one in (
            chunk(role="assistant", content=""),
            chunk(reasoning="thin"),
            chunk(reasoning_content="king"),
            chunk(content="an "),
            chunk(content="answer"),
            chunk(tool_calls=[{"index": 1, "id": "c2", "function": {"name": "g", "arguments": ""}}]),
            chunk(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a"'}}]),
            chunk(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
            chunk("tool_calls"),
            {"model": "m", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        )
    ]
    assert [delta for delta in deltas if delta] == [
        Delta(reasoning="thin"),
        Delta(reasoning="king"),
        Delta(content="an "),
        Delta(content="answer"),
    ]
    made = collector.completion()
    assert (made.content, made.reasoning, made.finish_reason) == ("an answer", "thinking", "tool_calls")
    assert [(call.id, call.function.name, call.function.arguments) for call in made.tool_calls] == [
        ("c1", "f", '{"a": 1}'),
        ("c2", "g", "{}"),
    ]
    assert made.usage.completion_tokens == 2
    assert made.time_to_first_token is not None


def test_a_stream_without_a_word_is_an_empty_answer() -> None:
    collector = ChunkCollector()
    collector.add(chunk("stop"))
    assert collector.completion().content == ""


def test_of_several_choices_the_first_counts() -> None:
    collector = ChunkCollector()
    for index, text in ((0, "a"), (1, "b"), (0, "c")):
        collector.add({"choices": [{"index": index, "delta": {"content": text}, "finish_reason": "stop"}]})
    assert collector.completion().content == "ac"


def test_an_error_has_the_usage_that_was_reported_before_it() -> None:
    collector = ChunkCollector()
    collector.add(chunk("error", content="a") | {"usage": {"prompt_tokens": 4, "completion_tokens": 1}})
    with pytest.raises(BackendUnavailable) as caught:
        collector.completion()
    assert caught.value.usage == Usage(prompt_tokens=4, completion_tokens=1)
