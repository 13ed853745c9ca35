"""A cloud API behind the backends' seam."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from faultserver import FaultServer
from faultserver.shapes import USAGE
from helpers.waiting import until
from windfall.errors import AmbiguousOutcome, BackendUnavailable, UnsupportedParameter
from windfall.request import CompletionRequest, Message
from windfall.result import Delta
from windfall_worker.backends.base import Call
from windfall_worker.backends.cloud import CloudBackend
from windfall_worker.cloud.anthropic import AnthropicClient
from windfall_worker.cloud.openai import OpenAIClient
from windfall_worker.cloud.provider import ProviderClient

BOTH = pytest.mark.parametrize("protocol", [OpenAIClient, AnthropicClient])


def backend(protocol: type[ProviderClient], server: FaultServer, model: str) -> CloudBackend:
    client = protocol(server.url, "sk-test", max_retries=1, backoff_factor=0.01, timeout=30.0)
    return CloudBackend(client, model, name=protocol.__name__.removesuffix("Client").lower())


def call(on_delta: Any = None, timeout: float | None = None, **fields: Any) -> Call:
    request = CompletionRequest(model="small", messages=(Message(role="user", content="hi"),), **fields)
    return Call("job:1", request, attempt=2, timeout=timeout, on_delta=on_delta)


@BOTH
async def test_a_call_is_a_completion_with_its_usage_and_request_id(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str
) -> None:
    ours = backend(protocol, fault_server, model)
    await ours.start()
    made = await ours.complete(call(temperature=0.0, max_tokens=9, metadata={"a": "b"}, priority=3))
    assert made.content == "a good answer"
    assert made.request_id == "req-fault"
    assert made.model == f"{model}-2026"
    assert made.usage.cached_tokens == USAGE["cached"]
    (seen,) = fault_server.seen(model)
    assert seen["headers"]["idempotency-key"] == "windfall-job:1-2"
    assert seen["body"]["model"] == model
    assert seen["body"]["temperature"] == 0
    assert seen["body"]["max_tokens"] == 9
    assert not {"metadata", "priority", "route"} & seen["body"].keys()
    await ours.close()


async def test_what_the_request_does_not_say_is_not_said_for_it(fault_server: FaultServer, model: str) -> None:
    ours = backend(OpenAIClient, fault_server, model)
    await ours.complete(call(max_completion_tokens=9))
    assert fault_server.seen(model)[0]["body"] == {
        "model": model,
        "messages": [{"role": "user", "content": "hi"}],
        "max_completion_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    await ours.close()


@BOTH
async def test_a_followed_call_gets_the_pieces_and_the_same_completion(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str
) -> None:
    ours = backend(protocol, fault_server, model)
    pieces: list[Delta] = []
    made = await ours.complete(call(on_delta=pieces.append, stream=True))
    assert "".join(piece.content for piece in pieces) == made.content == "a good answer"
    assert len(pieces) > 1
    assert made.request_id == "req-fault"
    assert made.time_to_first_token is not None
    assert made.usage == (await ours.complete(call())).usage
    await ours.close()


@BOTH
@pytest.mark.parametrize("followed", ["followed", "alone"])
async def test_cancelling_a_call_closes_its_connection(
    protocol: type[ProviderClient], followed: str, fault_server: FaultServer, model: str
) -> None:
    ours = backend(protocol, fault_server, model)
    fault_server.plan(model, then={"delay": 60})
    task = asyncio.create_task(ours.complete(call(on_delta=print if followed == "followed" else None)))
    await asyncio.to_thread(until, lambda: fault_server.hits(model) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(until, lambda: fault_server.seen(model)[0]["end"] == "client gone")
    await ours.close()


@BOTH
async def test_closing_ends_the_calls_under_way(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str
) -> None:
    ours = backend(protocol, fault_server, model)
    fault_server.plan(model, then={"delay": 60})
    task = asyncio.create_task(ours.complete(call()))
    await asyncio.to_thread(until, lambda: fault_server.hits(model) == 1)
    await ours.close()
    with pytest.raises(BackendUnavailable, match="closed"):
        await task
    with pytest.raises(BackendUnavailable, match="closed"):
        await ours.complete(call())
    await ours.close()


@BOTH
async def test_a_call_ends_at_its_deadline(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str
) -> None:
    ours = backend(protocol, fault_server, model)
    fault_server.plan(model, then={"delay": 60})
    async with asyncio.timeout(30):
        with pytest.raises(AmbiguousOutcome, match="deadline"):
            await ours.complete(call(timeout=0.2))
    await ours.close()


async def test_a_job_that_must_not_be_paid_twice_is_not_sent_twice(fault_server: FaultServer, model: str) -> None:
    ours = backend(OpenAIClient, fault_server, model)
    fault_server.plan(model, then={"cut": "before"})
    with pytest.raises(AmbiguousOutcome):
        await ours.complete(call(on_ambiguous="fail"))
    assert fault_server.hits(model) == 1
    await ours.close()


async def test_a_field_that_the_provider_has_not_is_refused_before_anything_is_sent(
    fault_server: FaultServer, model: str
) -> None:
    ours = backend(AnthropicClient, fault_server, model)
    with pytest.raises(UnsupportedParameter, match="seed"):
        await ours.complete(call(seed=7))
    assert fault_server.hits(model) == 0
    await ours.close()


async def test_tools_go_out_and_calls_come_back(fault_server: FaultServer, model: str) -> None:
    ours = backend(AnthropicClient, fault_server, model)
    block = {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}
    answer = {"id": "m", "type": "message", "model": model, "content": [block], "stop_reason": "tool_use", "usage": {}}
    fault_server.plan(model, {"json": answer})
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    made = await ours.complete(call(tools=(tool,), tool_choice="required"))
    assert made.finish_reason == "tool_calls"
    assert made.tool_calls[0].function.arguments == '{"x": 1}'
    assert fault_server.seen(model)[0]["body"]["tool_choice"] == {"type": "any"}
    await ours.close()


async def test_calls_share_as_few_connections_as_there_are_calls_at_a_time(
    fault_server: FaultServer, model: str
) -> None:
    ours = backend(OpenAIClient, fault_server, model)
    fault_server.plan(model, then={"delay": 0.02})
    for _ in range(5):
        await asyncio.gather(*(ours.complete(call()) for _ in range(8)))
    assert len({request["connection"] for request in fault_server.seen(model)}) == 8
    await ours.close()


async def test_a_cancelled_call_leaves_the_other_connections_alone(fault_server: FaultServer, model: str) -> None:
    ours = backend(OpenAIClient, fault_server, model)
    fault_server.plan(model, {"delay": 60}, then={"delay": 0.1})
    doomed = asyncio.create_task(ours.complete(call()))
    await asyncio.to_thread(until, lambda: fault_server.hits(model) == 1)
    others = [asyncio.create_task(ours.complete(call())) for _ in range(4)]
    await asyncio.sleep(0.02)
    doomed.cancel()
    assert [made.content for made in await asyncio.gather(*others)] == ["a good answer"] * 4
    assert (await ours.complete(call())).content == "a good answer"
    await ours.close()
