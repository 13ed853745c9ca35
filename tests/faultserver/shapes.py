"""What OpenAI and Anthropic answer when nothing is wrong."""

from __future__ import annotations

import json
from typing import Any

USAGE = {"prompt": 11, "cached": 4, "completion": 3, "reasoning": 1}


def answer(path: str, body: dict[str, Any], text: str) -> dict[str, Any]:
    """A whole completion."""
    if path.endswith("/messages"):
        return _anthropic_message(body, text)
    return {
        "id": "chatcmpl-fault",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": f"{body.get('model')}-2026",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": _openai_usage(),
    }


def events(path: str, body: dict[str, Any], text: str) -> list[str]:
    """The same as server-sent events, each a block of the stream."""
    if path.endswith("/messages"):
        return _anthropic_events(body, text)
    base = {
        "id": "chatcmpl-fault",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": f"{body.get('model')}-2026",
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return f"data: {json.dumps({**base, 'choices': [choice], 'usage': None})}\n\n"

    blocks = [chunk({"role": "assistant", "content": ""}), ": keep-alive\n\n"]
    blocks += [chunk({"content": piece}) for piece in _pieces(text)]
    blocks.append(chunk({}, "stop"))
    if (body.get("stream_options") or {}).get("include_usage"):
        blocks.append(f"data: {json.dumps({**base, 'choices': [], 'usage': _openai_usage()})}\n\n")
    blocks.append("data: [DONE]\n\n")
    return blocks


def _openai_usage() -> dict[str, Any]:
    return {
        "prompt_tokens": USAGE["prompt"],
        "completion_tokens": USAGE["completion"],
        "total_tokens": USAGE["prompt"] + USAGE["completion"],
        "prompt_tokens_details": {"cached_tokens": USAGE["cached"]},
        "completion_tokens_details": {"reasoning_tokens": USAGE["reasoning"]},
    }


def _anthropic_usage(output: int) -> dict[str, int]:
    # Anthropic counts cached prompt tokens apart from input_tokens.
    return {
        "input_tokens": USAGE["prompt"] - USAGE["cached"],
        "cache_read_input_tokens": USAGE["cached"],
        "cache_creation_input_tokens": 0,
        "output_tokens": output,
    }


def _anthropic_message(body: dict[str, Any], text: str) -> dict[str, Any]:
    return {
        "id": "msg_fault",
        "type": "message",
        "role": "assistant",
        "model": f"{body.get('model')}-2026",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": _anthropic_usage(USAGE["completion"]),
    }


def _anthropic_events(body: dict[str, Any], text: str) -> list[str]:
    start = _anthropic_message(body, "") | {"content": [], "stop_reason": None, "usage": _anthropic_usage(1)}
    listed: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in _pieces(text)
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": USAGE["completion"]},
        },
        {"type": "message_stop"},
    ]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in listed]


def _pieces(text: str) -> list[str]:
    return [text[at : at + 4] for at in range(0, len(text), 4)]
