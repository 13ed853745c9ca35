"""OpenAI's own answers, and Azure's."""

from __future__ import annotations

from recordings.play import Recording, chunk, chunks, event, tokens, whole

_DETAILS = {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 5}}
_USAGE = tokens(11, 9, **_DETAILS)
_LOGPROB = {"token": "Hi", "logprob": -0.25, "bytes": [72, 105], "top_logprobs": []}
_CITED = {
    "type": "url_citation",
    "url_citation": {"start_index": 0, "end_index": 2, "url": "https://a.example", "title": "A"},
}


def _call(number: int, name: str, arguments: str) -> dict[str, object]:
    function = {"name": name, "arguments": arguments}
    return {"index": number, "id": f"call_{number}", "type": "function", "function": function}


_CALLS = [
    {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}, "extra_content": None},
    {"id": "call_1", "type": "function", "function": {"name": "g", "arguments": "{}"}, "extra_content": None},
]

OPENAI = (
    Recording(
        "OpenAI",
        "a whole answer",
        whole({"content": "Hi", "refusal": None, "annotations": []}, usage=_USAGE, service_tier="default"),
        {"content": "Hi", "finish_reason": "stop", "service_tier": "default", "model": "a-model"},
        usage=(11, 9, 4, 5),
        stream=False,
        sdk=True,
    ),
    Recording(
        "OpenAI",
        "a stream",
        chunks({"role": "assistant", "content": ""}, {"content": "H"}, {"content": "i"}, usage=_USAGE),
        {"content": "Hi", "finish_reason": "stop"},
        usage=(11, 9, 4, 5),
        sdk=True,
    ),
    Recording(
        "OpenAI",
        "parallel tool calls in a stream",
        chunks(
            {"role": "assistant", "content": None, "tool_calls": [_call(0, "f", "")]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
            {"tool_calls": [_call(1, "g", "")]},
            {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
            finish="tool_calls",
            usage=_USAGE,
        ),
        {"content": None, "finish_reason": "tool_calls", "tool_calls": _CALLS},
        usage=(11, 9, 4, 5),
        sdk=True,
    ),
    Recording(
        "OpenAI",
        "a call of a named function, which ends with stop",
        whole({"content": None, "tool_calls": [_call(0, "f", '{"a": 1}')]}),
        {"finish_reason": "tool_calls", "tool_calls": _CALLS[:1]},
        stream=False,
        sdk=True,
    ),
    Recording(
        "OpenAI",
        "a call of a custom tool",
        whole(
            {
                "content": None,
                "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "sql", "input": "SELECT"}}],
            },
            "tool_calls",
        ),
        {
            "finish_reason": "tool_calls",
            "tool_calls": [],
            "custom_tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "sql", "input": "SELECT"}}],
        },
        stream=False,
        sdk=True,
    ),
    Recording(
        "OpenAI",
        "the function call of older models",
        whole({"content": None, "function_call": {"name": "f", "arguments": '{"a": 1}'}}, "function_call"),
        {"finish_reason": "tool_calls"},
        stream=False,
    ),
    Recording(
        "OpenAI",
        "a refusal",
        chunks({"role": "assistant", "refusal": ""}, {"refusal": "I can"}, {"refusal": "not"}),
        {"content": None, "refusal": "I cannot", "finish_reason": "stop"},
    ),
    Recording(
        "OpenAI",
        "log-probabilities in a stream",
        {"events": [chunk({"content": "Hi"}, choice={"logprobs": {"content": [_LOGPROB]}}), chunk({}, "stop")]},
        {"logprobs": [_LOGPROB]},
    ),
    Recording(
        "OpenAI",
        "citations of a web search",
        whole({"content": "Hi", "annotations": [_CITED]}),
        {"content": "Hi", "annotations": [_CITED]},
        stream=False,
        sdk=True,
    ),
    Recording(
        "OpenAI",
        "an answer that was cut off by the limit",
        chunks({"content": "H"}, finish="length"),
        {"content": "H", "finish_reason": "length"},
    ),
    Recording(
        "OpenAI",
        "a limit that thinking used up",
        whole({"content": ""}, "length", usage=_USAGE),
        {"content": "", "finish_reason": "length"},
        usage=(11, 9, 4, 5),
        stream=False,
    ),
    Recording(
        "Azure",
        "a first chunk about the prompt alone",
        {
            "events": [
                event(
                    {"choices": [], "id": "", "model": "", "object": "", "prompt_filter_results": [{"prompt_index": 0}]}
                ),
                chunk({"content": "Hi"}, choice={"content_filter_results": {"hate": {"filtered": False}}}),
                chunk({}, "content_filter"),
                "data: [DONE]\n\n",
            ]
        },
        {"content": "Hi", "finish_reason": "content_filter"},
    ),
)
