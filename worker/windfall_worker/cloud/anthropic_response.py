"""Translates Anthropic's messages and stream events into OpenAI's chat completions and chunks.

Stop reasons: `end_turn`, `stop_sequence` and `pause_turn` become `stop`; `max_tokens` and
`model_context_window_exceeded` become `length`; `tool_use` becomes `tool_calls`; `refusal` becomes `content_filter`,
and the message then has a `refusal` text. Prompt tokens cover the whole prompt: Anthropic counts tokens read from and
written to its cache separately.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def chat_completion(message: dict[str, Any]) -> dict[str, Any]:
    """Translate a whole message."""
    blocks = message["content"]
    text = "".join(block["text"] for block in blocks if block.get("type") == "text")
    thinking = "".join(block["thinking"] for block in blocks if block.get("type") == "thinking")
    calls = [_tool_call(block) for block in blocks if block.get("type") == "tool_use"]
    refusal = _refusal(message)
    content = text or (None if calls or refusal else "")
    made: dict[str, Any] = {"role": "assistant", "content": content, "refusal": refusal}
    if thinking:
        made["reasoning"] = thinking
    if calls:
        made["tool_calls"] = calls
    return {
        "id": message.get("id"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": message.get("model"),
        "choices": [{"index": 0, "message": made, "logprobs": None, "finish_reason": _finish(message)}],
        "usage": _usage(message.get("usage") or {}),
    }


class StreamTranslator:
    """Translates the events of one stream into chunks, one after the other."""

    def __init__(self) -> None:
        self._base: dict[str, Any] = {"id": None, "object": "chat.completion.chunk", "created": int(time.time())}
        self._usage: dict[str, Any] = {}
        self._tools: dict[int, int] = {}  # a block's index -> its tool call's
        self._empty: set[int] = set()  # tool calls of which no argument has arrived

    def chunks(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The chunks for an event: none for pings, signatures and unknown events."""
        kind = event.get("type")
        if kind == "message_start":
            message = event["message"]
            self._base |= {"id": message.get("id"), "model": message.get("model")}
            self._usage |= message.get("usage") or {}
            yield self._chunk({"role": "assistant", "content": ""})
        elif kind == "content_block_start":
            yield from self._block(event["index"], event["content_block"])
        elif kind == "content_block_delta":
            yield from self._delta(event["index"], event["delta"])
        elif kind == "content_block_stop" and event["index"] in self._empty:
            yield self._call(event["index"], {"arguments": "{}"})
        elif kind == "message_delta":
            # Its usage is cumulative, and lists only what has changed.
            self._usage |= {name: count for name, count in (event.get("usage") or {}).items() if count is not None}
            delta = event.get("delta") or {}
            refusal = _refusal(delta)
            yield self._chunk({"refusal": refusal} if refusal else {}, _finish(delta))
        elif kind == "message_stop":
            yield self._base | {"choices": [], "usage": _usage(self._usage)}

    def _block(self, index: int, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if block.get("type") == "tool_use":
            self._tools[index] = len(self._tools)
            self._empty.add(index)
            yield self._call(index, {"name": block["name"], "arguments": ""}, id=block["id"], type="function")
        elif block.get("text"):
            yield self._chunk({"content": block["text"]})

    def _delta(self, index: int, delta: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if delta.get("type") == "text_delta":
            yield self._chunk({"content": delta["text"]})
        elif delta.get("type") == "thinking_delta":
            yield self._chunk({"reasoning": delta["thinking"]})
        elif delta.get("type") == "input_json_delta" and delta.get("partial_json"):
            self._empty.discard(index)
            yield self._call(index, {"arguments": delta["partial_json"]})

    def _call(self, index: int, function: dict[str, str], **more: str) -> dict[str, Any]:
        return self._chunk({"tool_calls": [{"index": self._tools[index], **more, "function": function}]})

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return self._base | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}


def _finish(message: dict[str, Any]) -> str:
    return _FINISH.get(message.get("stop_reason") or "", "stop")


def _refusal(message: dict[str, Any]) -> str | None:
    if message.get("stop_reason") != "refusal":
        return None
    details = message.get("stop_details") or {}
    return details.get("explanation") or "the model refused to answer"


def _tool_call(block: dict[str, Any]) -> dict[str, Any]:
    function = {"name": block["name"], "arguments": json.dumps(block.get("input") or {})}
    return {"id": block["id"], "type": "function", "function": function}


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    cached = usage.get("cache_read_input_tokens") or 0
    prompt = (usage.get("input_tokens") or 0) + cached + (usage.get("cache_creation_input_tokens") or 0)
    output = usage.get("output_tokens") or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
