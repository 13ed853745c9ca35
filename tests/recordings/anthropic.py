"""Anthropic's messages and streams."""

from __future__ import annotations

from typing import Any

from recordings.play import Recording, Step, event
from windfall.errors import AmbiguousOutcome, BackendUnavailable, InvalidResponse

_USAGE = {
    "input_tokens": 5,
    "cache_read_input_tokens": 4,
    "cache_creation_input_tokens": 2,
    "output_tokens": 9,
    "output_tokens_details": {"thinking_tokens": 5},
    "service_tier": "standard",
}
_THINKING = {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"}
_HIDDEN = {"type": "redacted_thinking", "data": "aGlk"}
_PAGE = {
    "type": "web_search_result_location",
    "cited_text": "Hi",
    "encrypted_index": "aW5k",
    "title": "A",
    "url": "https://a.example",
}
_ANNOTATION = {
    "type": "url_citation",
    "url_citation": {"start_index": 4, "end_index": 6, "url": "https://a.example", "title": "A"},
}
_SEARCH = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}}
_FOUND = {
    "type": "web_search_tool_result",
    "tool_use_id": "srv_1",
    "content": [{"type": "web_search_result", "url": "https://a.example", "title": "A", "encrypted_content": "eA=="}],
}


def message(*blocks: dict[str, Any], stop: str | None = "end_turn", **more: Any) -> Step:
    """A whole message."""
    return {"json": _message(list(blocks), stop) | more}


def stream(*blocks: tuple[dict[str, Any], list[dict[str, Any]]], stop: str = "end_turn", **more: Any) -> Step:
    """A stream of blocks, each with its deltas."""
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": _message([], None, output=1)},
        {"type": "ping"},
    ]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    details = {"thinking_tokens": 5}
    usage = {"input_tokens": None, "output_tokens": 9, "output_tokens_details": details}
    events.append(
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None} | more, "usage": usage}
    )
    events.append({"type": "message_stop"})
    return {"events": [event(one, one["type"]) for one in events]}


def _message(blocks: list[dict[str, Any]], stop: str | None, output: int = 9) -> dict[str, Any]:
    named = {"id": "msg_1", "type": "message", "role": "assistant", "model": "a-model", "content": blocks}
    return named | {"stop_reason": stop, "stop_sequence": None, "usage": _USAGE | {"output_tokens": output}}


def _text(*pieces: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces]


_CITED: tuple[dict[str, Any], list[dict[str, Any]]] = (
    {"type": "text", "text": "", "citations": []},
    [{"type": "citations_delta", "citation": _PAGE}, {"type": "text_delta", "text": "Hi"}],
)
_CALL = {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}, "extra_content": None}


def recording(about: str, step: Step, gives: dict[str, Any], **more: Any) -> Recording:
    facts: dict[str, Any] = {
        "protocol": "anthropic",
        "usage": (11, 9, 4, 5),
        "stream": "events" in step,
        "sdk": True,
    } | more
    return Recording("Anthropic", about, step, gives, **facts)


ANTHROPIC = (
    recording(
        "a whole message",
        message({"type": "text", "text": "Hi"}),
        {"content": "Hi", "finish_reason": "stop", "service_tier": "default"},
    ),
    recording("a stream", stream(_text("H", "i")), {"content": "Hi", "finish_reason": "stop", "model": "a-model"}),
    recording(
        "thinking with its signature, and thinking that is hidden",
        stream(
            (
                {"type": "thinking", "thinking": "", "signature": ""},
                [
                    {"type": "thinking_delta", "thinking": "Let me "},
                    {"type": "thinking_delta", "thinking": "see."},
                    {"type": "signature_delta", "signature": "c2ln"},
                ],
            ),
            (_HIDDEN, []),
            _text("Hi"),
        ),
        {"content": "Hi", "reasoning": "Let me see.", "thinking_blocks": [_THINKING, _HIDDEN]},
    ),
    recording(
        "the same as a whole",
        message(_THINKING, _HIDDEN, {"type": "text", "text": "Hi"}),
        {"content": "Hi", "reasoning": "Let me see.", "thinking_blocks": [_THINKING, _HIDDEN]},
    ),
    recording(
        "a tool that the user runs",
        stream(
            _text("I look."),
            (
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
                [{"type": "input_json_delta", "partial_json": piece} for piece in ("", '{"a"', ": 1}")],
            ),
            stop="tool_use",
        ),
        {"content": "I look.", "finish_reason": "tool_calls", "tool_calls": [_CALL]},
    ),
    recording(
        "a tool without arguments",
        stream(({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}, []), stop="tool_use"),
        {
            "content": None,
            "tool_calls": [_CALL | {"function": {"name": "f", "arguments": "{}"}}],
        },
    ),
    recording(
        "tools that Anthropic runs, and what the text cites",
        stream(
            _text("See "),
            (_SEARCH, [{"type": "input_json_delta", "partial_json": piece} for piece in ('{"query"', ': "hi"}')]),
            (_FOUND, []),
            _CITED,
        ),
        {"content": "See Hi", "finish_reason": "stop", "citations": [_PAGE], "annotations": [_ANNOTATION]},
    ),
    recording(
        "the same as a whole",
        message(
            {"type": "text", "text": "See "}, _SEARCH, _FOUND, {"type": "text", "text": "Hi", "citations": [_PAGE]}
        ),
        {"content": "See Hi", "finish_reason": "stop", "citations": [_PAGE], "annotations": [_ANNOTATION]},
    ),
    recording(
        "a turn that was paused",
        stream(_text("I search"), (_SEARCH, []), stop="pause_turn"),
        {"content": "I search", "finish_reason": "pause_turn"},
    ),
    recording(
        "a refusal",
        stream(stop="refusal", stop_details={"type": "refusal", "category": "bio", "explanation": "not this"}),
        {"content": None, "finish_reason": "content_filter", "refusal": "not this"},
    ),
    recording(
        "a limit",
        message({"type": "text", "text": "H"}, stop="model_context_window_exceeded"),
        {"content": "H", "finish_reason": "length"},
    ),
    recording(
        "a whole message in answer to a request for a stream",
        message({"type": "text", "text": "Hi"}),
        {"content": "Hi", "finish_reason": "stop"},
        stream=True,
        sdk=False,
    ),
    recording(
        "an error in the middle",
        {
            "events": [
                *stream(_text("H"))["events"][:4],
                event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "error"),
            ]
        },
        {},
        fails=BackendUnavailable,
        says="Overloaded",
        usage=(11, 1, 4, 5),
        sdk=False,
    ),
    recording(
        "a stream that is cut",
        {"events": stream(_text("H"))["events"], "stop_after": 4},
        {},
        fails=AmbiguousOutcome,
        usage=(11, 1, 4, 5),
        sdk=False,
    ),
    recording(
        "an event without its block",
        {"events": [event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}})]},
        {},
        fails=InvalidResponse,
        usage=None,
        sdk=False,
    ),
)
