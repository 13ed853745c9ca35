"""Answers as real providers give them, from a server that replays them, as completions that the SDKs' types accept."""

from __future__ import annotations

import json
import warnings
from typing import Any

import anthropic
import openai
import pytest
from openai.types.chat import ChatCompletion

from faultserver import FaultServer
from helpers.requests import request
from recordings import ALL, Recording
from windfall.errors import BackendError
from windfall.result import FINISH_REASONS, Completion, CompletionResult, JobState, Timings, Usage, openai_body
from windfall.wire import decode_result, encode_result
from windfall_worker.backends.base import Call
from windfall_worker.backends.cloud import CloudBackend
from windfall_worker.cloud.anthropic import AnthropicClient
from windfall_worker.cloud.openai import OpenAIClient
from windfall_worker.guards.parking import Parked

CLIENTS = {"openai": OpenAIClient, "anthropic": AnthropicClient}
COMPLETED = [one for one in ALL if not one.fails]
FAILED = [one for one in ALL if one.fails]
THE_PROVIDERS_OWN = [one for one in COMPLETED if one.sdk]


def recordings(those: list[Recording]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("recording", those, ids=[f"{one.name} {at}" for at, one in enumerate(those)])


async def replayed(recording: Recording, server: FaultServer, model: str) -> Completion:
    server.plan(model, then=recording.step)
    client = CLIENTS[recording.protocol](server.url, "sk-test", max_retries=0, timeout=5.0)
    backend = CloudBackend(client, model, name=recording.protocol, stream=recording.stream)
    try:
        return await backend.complete(Call("job", request("hi", max_tokens=9)))
    finally:
        await backend.close()


def result(completion: Completion) -> CompletionResult:
    timings = Timings(enqueued_at=1.0, finished_at=2.0)
    return CompletionResult(job_id="j", state=JobState.COMPLETED, model="m", completion=completion, timings=timings)


@recordings(COMPLETED)
async def test_an_answer_is_understood(recording: Recording, fault_server: FaultServer, model: str) -> None:
    made = await replayed(recording, fault_server, model)
    read = made.model_dump(mode="json")
    assert {name: read[name] for name in recording.gives} == recording.gives
    if recording.usage:
        assert made.usage == usage(recording)
    assert decode_result(encode_result(result(made), "q")) == result(made), "it does not survive the queue"


@recordings(FAILED)
async def test_an_answer_that_is_none_is_what_it_is(
    recording: Recording, fault_server: FaultServer, model: str
) -> None:
    assert recording.fails
    with pytest.raises(BackendError) as caught:
        await replayed(recording, fault_server, model)
    error = caught.value.__cause__ if isinstance(caught.value, Parked) else caught.value  # which the job is spared
    assert type(error) is recording.fails
    assert recording.says in str(error)
    assert caught.value.usage == (usage(recording) if recording.usage else None)


@recordings(COMPLETED)
async def test_a_result_has_the_shape_of_openais(recording: Recording, fault_server: FaultServer, model: str) -> None:
    body = openai_body(result(await replayed(recording, fault_server, model)))
    if body["choices"][0]["finish_reason"] not in FINISH_REASONS:
        # OpenAI's type lists its own reasons; its SDK does not check them either.
        body["choices"][0]["finish_reason"] = "stop"
    assert ChatCompletion.model_validate(body).choices[0].message.content == body["choices"][0]["message"]["content"]


@recordings(THE_PROVIDERS_OWN)
async def test_the_providers_sdk_reads_the_same(recording: Recording, fault_server: FaultServer, model: str) -> None:
    ours = await replayed(recording, fault_server, model)
    read = _by_openai if recording.protocol == "openai" else _by_anthropic
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDKs warn of models that they do not know, and of old syntax of their own
        content, calls, tokens = await read(fault_server.url, model, stream=recording.stream)
    assert (ours.content or "") == content
    assert [(call.function.name, call.function.arguments) for call in ours.tool_calls] == calls
    assert tokens in (ours.usage.completion_tokens, None)


def usage(recording: Recording) -> Usage:
    prompt, completion, cached, reasoning = recording.usage or (0, 0, 0, 0)
    return Usage(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached, reasoning_tokens=reasoning)


async def _by_openai(url: str, model: str, *, stream: bool) -> tuple[str, list[tuple[str, str]], int | None]:
    async with openai.AsyncOpenAI(api_key="sk-test", base_url=url, max_retries=0) as client:
        asked: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        if stream:
            async with client.chat.completions.stream(**asked) as events:
                made = await events.get_final_completion()
        else:
            made = await client.chat.completions.create(**asked)
    message = made.choices[0].message
    calls = [call.function for call in message.tool_calls or () if call.type == "function"]
    tokens = made.usage.completion_tokens if made.usage else None
    return message.content or "", [(call.name, call.arguments) for call in calls], tokens


async def _by_anthropic(url: str, model: str, *, stream: bool) -> tuple[str, list[tuple[str, str]], int | None]:
    base = url.removesuffix("/v1")
    async with anthropic.AsyncAnthropic(api_key="sk-test", base_url=base, max_retries=0) as client:
        asked: dict[str, Any] = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        if stream:
            async with client.messages.stream(**asked) as events:
                made = await events.get_final_message()
        else:
            made = await client.messages.create(**asked)
    text = "".join(block.text for block in made.content if block.type == "text")
    uses = [block for block in made.content if block.type == "tool_use"]
    return text, [(use.name, json.dumps(use.input)) for use in uses], made.usage.output_tokens
