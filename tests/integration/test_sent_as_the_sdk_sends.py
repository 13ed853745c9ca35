"""What a provider gets of a row is what it gets from its own SDK for the same call."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from faultserver import FaultServer
from windfall.fields import PASSED_OVER
from windfall.request import CompletionRequest
from windfall.wire import decode_job, encode_job
from windfall_worker.backends.base import Call
from windfall_worker.backends.cloud import CloudBackend
from windfall_worker.cloud.anthropic import AnthropicClient
from windfall_worker.cloud.openai import OpenAIClient
from windfall_worker.cloud.provider import ProviderClient

HI = {"role": "user", "content": "hi"}
MARK = {"type": "ephemeral", "ttl": "1h"}
SCHEMA = {"type": "object", "properties": {"x": {"const": None, "default": None}}, "additionalProperties": False}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}

OPENAI: dict[str, dict[str, Any]] = {
    "plain": {"messages": [HI], "temperature": 0, "max_tokens": 9, "seed": 0, "stop": ["a"]},
    "several choices": {"messages": [HI], "n": 3, "logprobs": True, "top_logprobs": 2},
    "biases": {"messages": [HI], "logit_bias": {"50256": -100, "7": 1}},
    "parts": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look", "prompt_cache_breakpoint": {"mode": "explicit"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "original"}},
                    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
                    {"type": "file", "file": {"file_id": "file-1"}},
                ],
            }
        ]
    },
    "tools": {
        "messages": [
            HI,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "2", "type": "custom", "custom": {"name": "g", "input": "x"}},
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "4"},
            {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "5"}]},
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}},
            {"type": "custom", "custom": {"name": "g", "format": {"type": "text"}}},
        ],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
        "parallel_tool_calls": False,
    },
    "shaped": {
        "messages": [{"role": "developer", "content": "be brief"}, HI],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
        "reasoning_effort": "xhigh",
        "verbosity": "low",
    },
    "stored": {"messages": [HI], "store": True, "metadata": {"a": "b"}, "service_tier": "flex", "user": "u"},
    "searched": {"messages": [HI], "web_search_options": {"search_context_size": "low"}},
    "cached": {
        "messages": [HI],
        "prompt_cache_key": "k",
        "prompt_cache_options": {"mode": "explicit"},
        "safety_identifier": "s",
        "prediction": {"type": "content", "content": "x"},
    },
}

ANTHROPIC: dict[str, dict[str, Any]] = {
    "plain": {"messages": [HI], "system": "be brief", "temperature": 0, "stop_sequences": ["a"], "top_k": 5},
    "cached": {
        "system": [{"type": "text", "text": "long", "cache_control": MARK}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": MARK}]}],
        "tools": [{"name": "f", "input_schema": SCHEMA, "cache_control": MARK, "strict": True}],
        "cache_control": {"type": "ephemeral"},
    },
    "thinking": {
        "messages": [
            HI,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                    {"type": "redacted_thinking", "data": "eHg="},
                    {"type": "text", "text": "so"},
                    {"type": "tool_use", "id": "t", "name": "f", "input": {"x": None}, "caller": {"type": "direct"}},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t", "content": "no file", "is_error": True}],
            },
        ],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"name": "f", "input_schema": SCHEMA}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    },
    "adaptive": {
        "messages": [HI],
        "thinking": {"type": "adaptive", "display": "omitted"},
        "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": SCHEMA}},
    },
    "documents": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "document", "source": PDF, "citations": {"enabled": True}, "title": "t"},
                    {"type": "document", "source": {"type": "file", "file_id": "f"}},
                    {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                    {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]},
                ],
            }
        ]
    },
    "server tools": {
        "messages": [
            HI,
            {
                "role": "assistant",
                "content": [
                    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
                    {
                        "type": "web_search_tool_result",
                        "tool_use_id": "s",
                        "content": [
                            {"type": "web_search_result", "url": "u", "title": "t", "encrypted_content": "e"},
                        ],
                    },
                ],
            },
            HI,
        ],
        "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
        "container": {"id": "c", "skills": [{"type": "anthropic", "skill_id": "xlsx"}]},
    },
    "prefill": {"messages": [HI, {"role": "assistant", "content": "{"}], "metadata": {"user_id": "u"}},
    "said in between": {"messages": [HI, {"role": "system", "content": "now in French"}], "service_tier": "auto"},
    "fast": {"messages": [HI], "speed": "fast", "inference_geo": "eu", "diagnostics": {"previous_message_id": "m"}},
}


class OpenAIsOwn(OpenAIClient):
    """As if the fault server were api.openai.com."""

    known_fields = (PASSED_OVER - {"ignore_eos"}) | {"prompt_cache_breakpoint"}


def without_nulls(value: Any) -> Any:
    """Nulls at the top level, and in a message, count as not given."""
    return {name: inner for name, inner in value.items() if inner is not None}


async def sent_by_us(client: ProviderClient, request: CompletionRequest, server: FaultServer, model: str) -> Any:
    before = server.hits(model)
    ours = CloudBackend(client, model, name="cloud")
    try:
        await ours.complete(Call("job:1", decode_job(encode_job(request, 1)).request))
    finally:
        await ours.close()
    sent = server.seen(model)[before]["body"]
    # Whether an answer comes as a stream is the worker's to say.
    return {name: value for name, value in sent.items() if name not in ("stream", "stream_options")}


@pytest.mark.parametrize("kind", OPENAI)
async def test_a_body_of_openais(kind: str, fault_server: FaultServer, model: str) -> None:
    body = OPENAI[kind]
    choice = {"message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    answer = {"choices": [choice | {"index": index} for index in range(body.get("n", 1))], "model": model}
    fault_server.plan(model, then={"json": answer})
    async with AsyncOpenAI(base_url=fault_server.url, api_key="sk-test") as sdk:
        await sdk.chat.completions.create(model=model, **body)
    theirs = fault_server.seen(model)[0]["body"]
    client = OpenAIsOwn(fault_server.url, "sk-test", max_retries=0)
    ours = await sent_by_us(client, CompletionRequest(model="small", **body), fault_server, model)
    theirs["messages"] = [without_nulls(message) for message in theirs["messages"]]
    assert ours == theirs


@pytest.mark.parametrize("kind", ANTHROPIC)
async def test_a_body_of_anthropics(kind: str, fault_server: FaultServer, model: str) -> None:
    body = {"max_tokens": 4096} | ANTHROPIC[kind]
    extra = {name: body[name] for name in ("temperature", "top_k") if name in body}  # which the API still takes
    named = {name: value for name, value in body.items() if name not in extra}
    async with AsyncAnthropic(base_url=fault_server.url.removesuffix("/v1"), api_key="sk-test") as sdk:
        await sdk.messages.create(model=model, extra_body=extra, **named)
    theirs = fault_server.seen(model)[0]["body"]
    client = AnthropicClient(fault_server.url, "sk-test", max_retries=0)
    request = CompletionRequest.from_anthropic({"model": "small"} | body)
    assert await sent_by_us(client, request, fault_server, model) == theirs


async def test_the_same_in_a_stream(fault_server: FaultServer, model: str) -> None:
    body = {"max_tokens": 9} | ANTHROPIC["cached"]
    async with AsyncAnthropic(base_url=fault_server.url.removesuffix("/v1"), api_key="sk-test") as sdk:
        async for _ in await sdk.messages.create(model=model, stream=True, **body):
            pass
    ours = CloudBackend(AnthropicClient(fault_server.url, "sk-test"), model, name="anthropic")
    request = CompletionRequest.from_anthropic({"model": "small", "stream": True} | body)
    made = await ours.complete(Call("job:1", request, on_delta=lambda _: None))
    await ours.close()
    assert made.content == "a good answer"
    theirs, mine = fault_server.seen(model)
    assert mine["body"] == theirs["body"]
    assert mine["path"] == theirs["path"]


async def test_an_sdks_own_answer_goes_back_as_the_sdk_would_send_it(fault_server: FaultServer, model: str) -> None:
    async with AsyncOpenAI(base_url=fault_server.url, api_key="sk-test") as sdk:
        answer = await sdk.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
        turn = answer.choices[0].message.model_dump()
    client = OpenAIClient(fault_server.url, "sk-test", max_retries=0)
    request = CompletionRequest(model="small", messages=[HI, turn, HI], stream=None)
    assert await sent_by_us(client, request, fault_server, model) == {
        "model": model,
        "messages": [HI, {"role": "assistant", "content": "a good answer"}, HI],
    }
