"""Streams of both protocols from a real server: whole, split, cut, slow, and left early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from faultserver import FaultServer
from faultserver.shapes import USAGE
from helpers.requests import request
from helpers.waiting import until
from recordings.play import chunks as chunks_of
from recordings.play import whole
from windfall.errors import (
    AmbiguousOutcome,
    BackendError,
    BackendUnavailable,
    InvalidResponse,
    RateLimited,
)
from windfall_worker.backends.base import Call
from windfall_worker.backends.cloud import CloudBackend
from windfall_worker.cloud.anthropic import AnthropicClient
from windfall_worker.cloud.completion import ChunkCollector
from windfall_worker.cloud.openai import OpenAIClient
from windfall_worker.cloud.options import CallOptions
from windfall_worker.cloud.provider import ProviderClient

HI = [{"role": "user", "content": "hi"}]
BOTH = pytest.mark.parametrize("protocol", [OpenAIClient, AnthropicClient])


def client(protocol: type[ProviderClient], server: FaultServer, **more: Any) -> ProviderClient:
    return protocol(server.url, "sk-test", **({"max_retries": 1, "backoff_factor": 0.01, "timeout": 30.0} | more))


async def chunks(
    client: ProviderClient, model: str, options: CallOptions | None = None
) -> AsyncGenerator[dict[str, Any], None]:
    answer = await client.chat_completion(HI, model, 5, stream=True, options=options)
    return cast(AsyncGenerator[dict[str, Any], None], answer)


async def collected(client: ProviderClient, model: str, options: CallOptions | None = None) -> ChunkCollector:
    collector = ChunkCollector()
    async for chunk in await chunks(client, model, options):
        collector.add(chunk)
    return collector


@BOTH
async def test_a_stream_is_the_whole_answer_with_its_usage(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str
) -> None:
    async with client(protocol, fault_server) as ours:
        fault_server.plan(model, then={"content": "a rather long answer - with ü, \u2028 and 日本"})
        made = (await collected(ours, model)).completion()
        assert made.content == "a rather long answer - with ü, \u2028 and 日本"
        assert made.usage.prompt_tokens == USAGE["prompt"]
        assert made.usage.cached_tokens == USAGE["cached"]
        assert made.usage.completion_tokens == USAGE["completion"]
        assert made.finish_reason == "stop"


@BOTH
@pytest.mark.parametrize("size", [1, 7])
async def test_events_that_arrive_in_pieces_are_put_together(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str, size: int
) -> None:
    async with client(protocol, fault_server) as ours:
        fault_server.plan(model, then={"content": "split - ü", "split": size})
        assert (await collected(ours, model)).completion().content == "split - ü"


@BOTH
@pytest.mark.parametrize("blocks", [0, 1, 3])
async def test_a_stream_that_is_cut_may_have_been_paid_for(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str, blocks: int
) -> None:
    async with client(protocol, fault_server, circuit_breaker_fail_max=1) as ours:
        fault_server.plan(model, then={"stop_after": blocks})
        with pytest.raises(AmbiguousOutcome):
            await collected(ours, model)
        assert fault_server.hits(model) == 1
        assert ours.is_circuit_open  # it counts


async def test_a_stream_that_ends_well_formed_but_early_is_cut_all_the_same(
    fault_server: FaultServer, model: str
) -> None:
    async with client(OpenAIClient, fault_server) as ours:
        fault_server.plan(model, then={"events": ['data: {"choices": [{"delta": {"content": "a"}}]}\n\n']})
        with pytest.raises(AmbiguousOutcome, match="before its end"):
            await collected(ours, model)


async def test_a_finish_reason_is_end_enough_for_a_server_that_sends_no_done(
    fault_server: FaultServer, model: str
) -> None:
    async with client(OpenAIClient, fault_server) as ours:
        event = 'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n'
        fault_server.plan(model, then={"events": [event]})
        assert (await collected(ours, model)).completion().content == "a"


@pytest.mark.parametrize(
    ("protocol", "event", "expected"),
    [
        (OpenAIClient, '{"error": {"message": "m", "type": "server_error"}}', BackendUnavailable),
        (OpenAIClient, '{"error": {"message": "m"}}', InvalidResponse),
        (OpenAIClient, "no JSON", InvalidResponse),
        (OpenAIClient, "[1]", InvalidResponse),
        (AnthropicClient, '{"type": "error", "error": {"type": "overloaded_error"}}', BackendUnavailable),
        (AnthropicClient, '{"type": "error", "error": {"type": "rate_limit_error"}}', RateLimited),
        (AnthropicClient, '{"type": "error", "error": {"type": "new_error"}}', InvalidResponse),
    ],
)
async def test_an_error_inside_a_stream_is_that_error(
    protocol: type[ProviderClient], event: str, expected: type[BackendError], fault_server: FaultServer, model: str
) -> None:
    async with client(protocol, fault_server) as ours:
        fault_server.plan(model, then={"events": [f"data: {event}\n\n"]})
        with pytest.raises(expected):
            await collected(ours, model)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_endpoint_that_gives_up_its_answers_has_failed(
    fault_server: FaultServer, model: str, *, stream: bool
) -> None:
    async with client(OpenAIClient, fault_server, circuit_breaker_fail_max=1) as ours:
        backend = CloudBackend(ours, model, name="openai", stream=stream, owns_client=False)
        answer = chunks_of({"content": "a"}, finish="error") if stream else whole({"content": "a"}, "error")
        fault_server.plan(model, then=answer)
        with pytest.raises(BackendUnavailable, match="finish_reason 'error'"):
            await backend.complete(Call("job", request()))
        assert ours.is_circuit_open


@pytest.mark.parametrize("stream", [True, False])
async def test_a_model_that_cannot_write_a_call_says_nothing_about_its_endpoint(
    fault_server: FaultServer, model: str, *, stream: bool
) -> None:
    async with client(OpenAIClient, fault_server, circuit_breaker_fail_max=1) as ours:
        backend = CloudBackend(ours, model, name="openai", stream=stream, owns_client=False)
        finish = "MALFORMED_FUNCTION_CALL"
        fault_server.plan(model, then=chunks_of(finish=finish) if stream else whole({"content": ""}, finish))
        with pytest.raises(InvalidResponse, match=finish):
            await backend.complete(Call("job", request()))
        assert not ours.is_circuit_open


@BOTH
async def test_an_endpoint_that_does_not_stream_says_what_it_is(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str
) -> None:
    async with client(protocol, fault_server) as ours:
        fault_server.plan(model, {"text": "<html>", "headers": {"content-type": "text/html"}}, {"json": {"a": 1}})
        with pytest.raises(InvalidResponse, match="web page"):
            await collected(ours, model)
        with pytest.raises(InvalidResponse, match="answered without"):
            await collected(ours, model)


@BOTH
async def test_a_status_before_a_stream_is_retried_like_any_other(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str
) -> None:
    async with client(protocol, fault_server) as ours:
        fault_server.plan(model, {"status": 529})
        assert (await collected(ours, model)).completion().content == "a good answer"
        fault_server.plan(model, then={"status": 529})
        with pytest.raises(BackendUnavailable, match="529"):
            await collected(ours, model)
        assert fault_server.hits(model) == 2


@BOTH
async def test_a_stream_that_falls_silent_is_ambiguous(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str
) -> None:
    async with client(protocol, fault_server, timeout=0.2) as ours:
        fault_server.plan(model, then={"event_delay": 60})
        with pytest.raises(AmbiguousOutcome):
            await collected(ours, model)


@BOTH
async def test_a_stream_ends_at_the_callers_deadline_and_counts_as_nothing(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str
) -> None:
    async with client(protocol, fault_server, circuit_breaker_fail_max=1) as ours:
        fault_server.plan(model, then={"event_delay": 0.1, "content": "very slow words " * 20})
        async with asyncio.timeout(30):
            with pytest.raises(AmbiguousOutcome, match="deadline"):
                await collected(ours, model, CallOptions(timeout=0.4))
        assert not ours.is_circuit_open


@BOTH
async def test_leaving_a_stream_closes_its_connection_and_counts_as_nothing(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str
) -> None:
    async with client(protocol, fault_server, circuit_breaker_fail_max=1) as ours:
        fault_server.plan(model, then={"event_delay": 0.2, "content": "slow words " * 20})
        stream = await chunks(ours, model)
        await anext(stream)
        await stream.aclose()
        await asyncio.to_thread(until, lambda: fault_server.seen(model)[0]["end"] == "client gone")
        assert not ours.is_circuit_open


@BOTH
async def test_a_finished_stream_leaves_its_connection_for_the_next(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str
) -> None:
    async with client(protocol, fault_server) as ours:
        for _ in range(5):
            await collected(ours, model)
        assert len({request["connection"] for request in fault_server.seen(model)}) == 1


@BOTH
async def test_an_event_is_one_data_line(protocol: type[ProviderClient], fault_server: FaultServer, model: str) -> None:
    async with client(protocol, fault_server) as ours:
        body = {"model": model, "stream": True}
        path = "chat/completions" if protocol is OpenAIClient else "messages"
        lines = [line async for line in ours._events(path, body)]
        assert len(lines) > 3
        assert all(line.startswith("data: ") for line in lines)
