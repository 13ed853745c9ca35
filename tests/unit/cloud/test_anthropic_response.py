"""Anthropic's answers as OpenAI's, whole and in events: both ways must give the same completion."""

from __future__ import annotations

from typing import Any

import pytest

from windfall.result import Completion, Usage
from windfall_worker.cloud.anthropic_response import StreamTranslator, chat_completion
from windfall_worker.cloud.completion import ChunkCollector, completion_of

USAGE = {"input_tokens": 5, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2, "output_tokens": 4}


def message(*blocks: dict[str, Any], stop: str = "end_turn", **more: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": list(blocks),
        "stop_reason": stop,
        "usage": USAGE,
        **more,
    }


def events(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """The stream that would have made this message."""
    made: list[dict[str, Any]] = [{"type": "ping"}]
    made.append({"type": "message_start", "message": whole | {"content": [], "usage": USAGE | {"output_tokens": 1}}})
    for index, block in enumerate(whole["content"]):
        kind = block["type"]
        start = {
            "text": {"text": ""},
            "thinking": {"thinking": "", "signature": ""},
            "tool_use": {"input": {}},
        }[kind]
        made.append({"type": "content_block_start", "index": index, "content_block": block | start})
        if kind == "tool_use":
            pieces = ['{"x', '": 1}'] if block["input"] else [""]
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        else:
            half = len(block[kind]) // 2
            deltas = [{"type": f"{kind}_delta", kind: piece} for piece in (block[kind][:half], block[kind][half:])]
        if kind == "thinking":
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        made += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        made.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": whole["stop_reason"]} | {k: whole[k] for k in ("stop_details",) if k in whole}
    made.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 4, "input_tokens": None}})
    made.append({"type": "something_new"})
    made.append({"type": "message_stop"})
    return made


def streamed(whole: dict[str, Any]) -> Completion:
    translator, collector = StreamTranslator(), ChunkCollector()
    for event in events(whole):
        for chunk in translator.chunks(event):
            collector.add(chunk)
    made = collector.completion()
    return made.model_copy(update={"time_to_first_token": None, "tokens_per_second": None})


TEXT = {"type": "text", "text": "an answer"}
THINKING = {"type": "thinking", "thinking": "let me see", "signature": "abc"}
CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}
CALL_OF_NOTHING = {"type": "tool_use", "id": "t2", "name": "g", "input": {}}


@pytest.mark.parametrize(
    "whole",
    [
        message(TEXT),
        message(),
        message(THINKING, TEXT),
        message(CALL, stop="tool_use"),
        message(TEXT, CALL, CALL_OF_NOTHING, stop="tool_use"),
        message(TEXT, stop="max_tokens"),
        message(TEXT, stop="refusal", stop_details={"explanation": "not this"}),
        message(stop="refusal"),
    ],
    ids=["text", "empty", "thinking", "tool", "two tools", "cut", "refusal", "refusal without words"],
)
def test_a_stream_gives_what_the_whole_message_gives(whole: dict[str, Any]) -> None:
    assert streamed(whole) == completion_of(chat_completion(whole))


def test_prompt_tokens_are_all_of_the_prompt() -> None:
    usage = completion_of(chat_completion(message(TEXT))).usage
    assert usage == Usage(prompt_tokens=10, completion_tokens=4, cached_tokens=3)


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "pause_turn"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ],
)
def test_stop_reasons_are_finish_reasons(stop: str, expected: str) -> None:
    assert completion_of(chat_completion(message(TEXT, stop=stop))).finish_reason == expected


def test_a_refusal_says_so_in_its_own_field() -> None:
    whole = message(stop="refusal", stop_details={"explanation": "not this"})
    assert completion_of(chat_completion(whole)).refusal == "not this"


def test_arguments_of_a_tool_call_are_json_text() -> None:
    made = completion_of(chat_completion(message(CALL, CALL_OF_NOTHING, stop="tool_use")))
    assert [call.function.arguments for call in made.tool_calls] == ['{"x": 1}', "{}"]
    assert made.content is None
