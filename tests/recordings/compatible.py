"""Answers of providers and servers whose API is compatible with OpenAI's, but for what is recorded here."""

from __future__ import annotations

import json
from typing import Any

from recordings.play import Recording, chunk, chunks, event, tokens, whole
from windfall.errors import AmbiguousOutcome, BackendUnavailable, InvalidResponse

_SIGNED = {"google": {"thought_signature": "c2ln"}}
_ONE, _TWO = '{"city": "Rome"}', '{"city": "Oslo"}'


def _gemini(number: int, arguments: str, **more: Any) -> dict[str, Any]:
    call = {"id": f"call_{number}", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    return {"role": "assistant", "tool_calls": [call | more]}


def _made(number: int, arguments: str, extra: Any = None) -> dict[str, Any]:
    function = {"name": "weather", "arguments": arguments}
    return {"id": f"call_{number}", "type": "function", "function": function, "extra_content": extra}


_PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "Let me "}, {"type": "text", "text": "see."}]},
    {"type": "text", "text": "H"},
    {"type": "reference", "reference_ids": [1]},
    {"type": "text", "text": "i"},
]
_HI = {"content": "Hi", "finish_reason": "stop"}
_REASONING = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}

COMPATIBLE = (
    Recording(
        "Gemini",
        "parallel tool calls without an index, which end with stop",
        chunks(_gemini(1, _ONE, extra_content=_SIGNED), _gemini(2, _TWO)),
        {"finish_reason": "tool_calls", "tool_calls": [_made(1, _ONE, _SIGNED), _made(2, _TWO)]},
    ),
    Recording(
        "Gemini",
        "parallel tool calls that all have the index 0",
        chunks(_gemini(1, _ONE, index=0), _gemini(2, _TWO, index=0)),
        {"tool_calls": [_made(1, _ONE), _made(2, _TWO)]},
    ),
    Recording(
        "Gemini",
        "arguments in pieces without an index, and a signature alone",
        chunks(
            _gemini(1, '{"city"'),
            {"tool_calls": [{"function": {"arguments": ': "Rome"}'}}]},
            {"tool_calls": [{"extra_content": _SIGNED}]},
        ),
        {"tool_calls": [_made(1, _ONE, _SIGNED)]},
    ),
    Recording(
        "Gemini",
        "thinking that only the total counts",
        whole({"content": "Hi"}, usage=tokens(11, 4) | {"total_tokens": 20}),
        _HI,
        usage=(11, 9, 0, 5),
        stream=False,
    ),
    Recording(
        "Gemini",
        "a call that it could not read itself",
        whole({"role": "assistant"}, "MALFORMED_FUNCTION_CALL", usage=tokens(11, 9)),
        fails=InvalidResponse,
        says="MALFORMED_FUNCTION_CALL",
        usage=(11, 9, 0, 0),
        stream=False,
    ),
    Recording(
        "Gemini",
        "an answer that its safety filter kept back",
        whole({"role": "assistant"}, "SAFETY"),
        {"content": "", "finish_reason": "content_filter"},
        stream=False,
    ),
    Recording(
        "Mistral",
        "reasoning as parts of the content",
        whole({"content": _PARTS}),
        _HI | {"reasoning": "Let me see."},
        stream=False,
    ),
    Recording(
        "Mistral",
        "the same in a stream, in which plain text follows",
        chunks({"content": _PARTS[:1]}, {"content": "H"}, {"content": "i"}),
        _HI | {"reasoning": "Let me see."},
    ),
    Recording(
        "Mistral", "a model's limit", chunks({"content": "H"}, finish="model_length"), {"finish_reason": "length"}
    ),
    Recording(
        "Mistral",
        "an error as the finish reason",
        chunks({"content": "H"}, finish="error", usage=tokens(11, 1)),
        fails=BackendUnavailable,
        says="finish_reason 'error'",
        usage=(11, 1, 0, 0),
    ),
    Recording(
        "DeepSeek",
        "comments while it waits, reasoning, and its own name for cached tokens",
        {
            "events": [
                ": keep-alive\n\n",
                *chunks(
                    {"reasoning_content": "Let me see."},
                    {"content": "Hi"},
                    usage=tokens(11, 9, prompt_cache_hit_tokens=4, completion_tokens_details={"reasoning_tokens": 5}),
                )["events"],
            ]
        },
        _HI | {"reasoning": "Let me see."},
        usage=(11, 9, 4, 5),
    ),
    Recording(
        "DeepSeek",
        "empty lines before a whole answer",
        {"text": "\n\n\n" + json.dumps(whole({"content": "Hi"})["json"])},
        _HI,
        stream=False,
    ),
    Recording(
        "DeepSeek",
        "no machine left in the middle",
        chunks({"content": "H"}, finish="insufficient_system_resource", usage=tokens(11, 1)),
        fails=BackendUnavailable,
        says="insufficient_system_resource",
        usage=(11, 1, 0, 0),
    ),
    Recording(
        "OpenRouter",
        "an error in the choice of a whole answer",
        whole(
            {"content": ""},
            "error",
            choice={"error": {"code": 502, "message": "Upstream error"}},
            usage=tokens(11, 0),
        ),
        fails=BackendUnavailable,
        says="Upstream error",
        usage=(11, 0, 0, 0),
        stream=False,
    ),
    Recording(
        "OpenRouter",
        "an error in the middle of a stream",
        {
            "events": [
                ": OPENROUTER PROCESSING\n\n",
                chunk({"content": "H"}),
                chunk({"content": ""}, "error", error={"code": "server_error", "message": "Provider disconnected"}),
            ]
        },
        fails=BackendUnavailable,
        says="Provider disconnected",
    ),
    Recording(
        "OpenRouter",
        "reasoning in details, with a signature",
        chunks(
            {"reasoning": "Let ", "reasoning_details": [_REASONING | {"text": "Let "}]},
            {"reasoning": "me", "reasoning_details": [_REASONING | {"text": "me"}]},
            {"reasoning_details": [_REASONING | {"signature": "c2ln"}]},
            {"content": "Hi"},
        ),
        _HI | {"reasoning": "Let me", "reasoning_details": [_REASONING | {"text": "Let me", "signature": "c2ln"}]},
    ),
    Recording(
        "xAI",
        "reasoning apart from the completion's tokens",
        whole(
            {"content": "Hi", "reasoning_content": "Let me see."},
            usage=tokens(11, 4, completion_tokens_details={"reasoning_tokens": 5}) | {"total_tokens": 20},
        ),
        _HI,
        usage=(11, 9, 0, 5),
        stream=False,
    ),
    Recording(
        "Groq",
        "usage in a field of its own",
        {
            "events": [
                chunk({"content": "Hi"}),
                chunk({}, "stop", x_groq={"id": "req_1", "usage": tokens(11, 9)}),
                "data: [DONE]\n\n",
            ]
        },
        _HI,
        usage=(11, 9, 0, 0),
    ),
    Recording(
        "Moonshot",
        "usage in the choice",
        {
            "events": [
                chunk({"content": "Hi"}),
                chunk({}, "stop", choice={"usage": tokens(11, 9, cached_tokens=4)}),
                "data: [DONE]\n\n",
            ]
        },
        _HI,
        usage=(11, 9, 4, 0),
    ),
    Recording(
        "Perplexity",
        "addresses that the answer cites",
        whole({"content": "Hi [1]"}, citations=["https://a.example"], search_results=[{"title": "A"}]),
        {"content": "Hi [1]", "citations": ["https://a.example"]},
        stream=False,
    ),
    Recording("Together", "an end by a token", whole({"content": "Hi"}, "eos"), _HI, stream=False),
    Recording(
        "Ollama",
        "arguments as an object, and no id",
        whole({"content": "", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Rome"}}}]}),
        {"content": None, "finish_reason": "tool_calls"},
        stream=False,
    ),
    Recording(
        "llama.cpp",
        "a call without arguments, and another of the same function",
        whole(
            {
                "content": None,
                "tool_calls": [
                    {"id": f"call_{n}", "type": "function", "function": {"name": "weather"}} for n in (1, 2)
                ],
            },
            "tool_calls",
        ),
        {"tool_calls": [_made(1, "{}"), _made(2, "{}")]},
        stream=False,
    ),
    Recording(
        "vLLM",
        "a request that was aborted",
        chunks({"content": "H"}, finish="abort"),
        fails=BackendUnavailable,
        says="abort",
    ),
    Recording(
        "vLLM",
        "an error in a stream",
        {"events": [chunk({"content": "H"}), event({"error": {"object": "error", "message": "m", "code": 500}})]},
        fails=BackendUnavailable,
    ),
    Recording(
        "a gateway",
        "counts that are floats or text, and details that are null",
        whole(
            {"content": "Hi"},
            usage={
                "prompt_tokens": 11.0,
                "completion_tokens": "9",
                "total_tokens": 20.0,
                "prompt_tokens_details": None,
            },
        ),
        _HI,
        usage=(11, 9, 0, 0),
        stream=False,
    ),
    Recording(
        "a gateway",
        "a whole answer in place of a stream",
        whole({"content": "Hi"}, usage=tokens(11, 9)),
        _HI,
        usage=(11, 9, 0, 0),
    ),
    Recording(
        "a gateway",
        "a stream that does not say that it is one",
        {"text": "".join(chunks({"content": "Hi"})["events"]), "headers": {"content-type": "text/plain"}},
        _HI,
    ),
    Recording(
        "a gateway",
        "a last line without a blank one",
        {"events": [chunk({"content": "Hi"}), chunk({}, "stop").rstrip("\n")]},
        _HI,
    ),
    Recording(
        "a gateway",
        "half of a last line",
        {"events": [chunk({"content": "Hi"}), chunk({}, "stop")[:40]]},
        fails=AmbiguousOutcome,
        says="before its end",
    ),
    Recording(
        "a gateway",
        "an error that only the event's name tells",
        {"events": [chunk({"content": "H"}), event({"message": "it is gone", "code": 503}, "error")]},
        fails=BackendUnavailable,
        says="it is gone",
    ),
    Recording(
        "a gateway",
        "a reason that nobody knows",
        chunks({"content": "Hi"}, finish="moon_phase"),
        {"content": "Hi", "finish_reason": "moon_phase"},
    ),
    Recording(
        "a gateway",
        "a reason that nobody knows, and nothing else",
        chunks({"content": ""}, finish="moon_phase"),
        fails=InvalidResponse,
        says="moon_phase",
    ),
    Recording(
        "a gateway",
        "nothing at all",
        chunks(finish=None),
        fails=InvalidResponse,
        says="does not say why",
    ),
)
