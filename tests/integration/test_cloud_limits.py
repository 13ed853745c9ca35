"""Whatever an endpoint sends, it fills no memory and holds no slot for ever."""

from __future__ import annotations

import json
from typing import Any

import pytest

from faultserver import FaultServer
from helpers.waiting import until
from windfall.errors import AmbiguousOutcome, BackendError, InvalidResponse, RateLimited
from windfall_worker.cloud.answer_limits import AnswerLimits
from windfall_worker.cloud.anthropic import AnthropicClient
from windfall_worker.cloud.completion import ChunkCollector
from windfall_worker.cloud.openai import OpenAIClient
from windfall_worker.cloud.provider import ProviderClient

HI = [{"role": "user", "content": "hi"}]
BOTH = pytest.mark.parametrize("protocol", [OpenAIClient, AnthropicClient])
SHAPE = pytest.mark.parametrize("shape", ["whole", "stream"])


def client(server: FaultServer, protocol: type[ProviderClient] = OpenAIClient, **more: Any) -> ProviderClient:
    return protocol(server.url, "sk-test", **({"max_retries": 0, "timeout": 30.0} | more))


async def ask(ours: ProviderClient, model: str, *, stream: bool) -> ChunkCollector:
    collector = ChunkCollector()
    answer = await ours.chat_completion(HI, model, 5, stream=stream)
    if not isinstance(answer, dict):
        async for chunk in answer:
            collector.add(chunk)
    return collector


@BOTH
async def test_a_gzip_bomb_is_cut_while_it_is_decoded(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then={"letters": 50_000_000})
    async with client(fault_server, protocol, limits=AnswerLimits(total_bytes=1 << 20)) as ours:
        with pytest.raises(AmbiguousOutcome, match=r"larger than 1,048,576 bytes.*may have been paid for"):
            await ask(ours, model, stream=False)


async def test_what_is_gzipped_within_the_limit_is_read(fault_server: FaultServer, model: str) -> None:
    fault_server.plan(model, then={"letters": 1000})
    async with client(fault_server) as ours:
        with pytest.raises(InvalidResponse, match="1000 characters"):
            await ask(ours, model, stream=False)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip"])
async def test_a_coding_that_nobody_asked_for_is_not_decoded(
    fault_server: FaultServer, model: str, coding: str
) -> None:
    fault_server.plan(model, then={"letters": 1000, "coding": coding})
    async with client(fault_server) as ours:
        with pytest.raises(InvalidResponse, match="was not requested"):
            await ask(ours, model, stream=False)
    assert fault_server.seen(model)[0]["headers"]["accept-encoding"] == "gzip, deflate"


async def test_a_bomb_in_an_error_is_cut_as_well(fault_server: FaultServer, model: str) -> None:
    fault_server.plan(model, then={"letters": 50_000_000, "status": 429})
    async with client(fault_server, limits=AnswerLimits(total_bytes=1 << 20)) as ours:
        with pytest.raises(RateLimited):
            await ask(ours, model, stream=False)


async def test_a_line_of_a_stream_has_a_limit(fault_server: FaultServer, model: str) -> None:
    fault_server.plan(model, then={"events": ["data: " + "x" * 3000], "split": 100})
    async with client(fault_server, limits=AnswerLimits(line_bytes=2000)) as ours:
        with pytest.raises(AmbiguousOutcome, match="line of the stream is longer than 2,000 bytes"):
            await ask(ours, model, stream=True)


async def test_many_lines_are_no_long_one_and_have_a_limit_together(fault_server: FaultServer, model: str) -> None:
    fault_server.plan(model, then={"events": [": ping\n\n"] * 400, "split": 7})
    async with client(fault_server, limits=AnswerLimits(line_bytes=20, total_bytes=2000)) as ours:
        with pytest.raises(AmbiguousOutcome, match="larger than 2,000 bytes"):
            await ask(ours, model, stream=True)


@BOTH
@SHAPE
async def test_bytes_that_come_one_by_one_hold_a_slot_only_so_long(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str, shape: str
) -> None:
    slow = {"events": [": ping\n\n"] * 10_000, "event_delay": 0.05} if shape == "stream" else {"drip": 0.05}
    fault_server.plan(model, then=slow)
    ours = client(fault_server, protocol, limits=AnswerLimits(seconds=0.5), circuit_breaker_fail_max=1)
    async with ours:
        with pytest.raises(AmbiguousOutcome, match=r"not done within 0\.5 s.*call_timeout"):
            await ask(ours, model, stream=shape == "stream")
        assert ours.is_circuit_open, "an endpoint that drips has failed"
        until(lambda: fault_server.seen(model)[0]["end"] == "client gone")


async def test_a_drip_in_place_of_a_stream_is_no_better(fault_server: FaultServer, model: str) -> None:
    fault_server.plan(model, then={"text": "x" * 10_000, "drip": 0.05})
    async with client(fault_server, limits=AnswerLimits(seconds=0.5)) as ours:
        with pytest.raises(AmbiguousOutcome, match="call_timeout"):
            await ask(ours, model, stream=True)


DEEP = "[" * 100_000


@SHAPE
async def test_json_without_end_is_no_answer(fault_server: FaultServer, model: str, shape: str) -> None:
    fault_server.plan(model, then={"events": [f"data: {DEEP}\n\n"]} if shape == "stream" else {"text": DEEP})
    async with client(fault_server) as ours:
        with pytest.raises(InvalidResponse):
            await ask(ours, model, stream=shape == "stream")
        fault_server.plan(model, then={"status": 400, "text": DEEP})
        with pytest.raises(BackendError, match="answered 400"):
            await ask(ours, model, stream=shape == "stream")


@pytest.mark.parametrize(
    "choices",
    [
        ["text"],
        {"0": 1},
        [{"delta": "text"}],
        [{"delta": {"tool_calls": [{"index": []}]}}],
        [{"delta": {"content": 5}}],
        [{"delta": {}, "finish_reason": ["stop"]}],
    ],
)
async def test_a_chunk_of_another_shape_is_no_bug_of_ours(fault_server: FaultServer, model: str, choices: Any) -> None:
    events = [f"data: {json.dumps({'choices': choices})}\n\n", "data: [DONE]\n\n"]
    fault_server.plan(model, then={"events": events})
    async with client(fault_server) as ours:
        with pytest.raises(InvalidResponse):
            (await ask(ours, model, stream=True)).completion()


async def test_a_request_id_and_a_wait_have_limits(fault_server: FaultServer, model: str) -> None:
    headers = {"x-request-id": "r" * 5000, "retry-after": "1e12"}
    fault_server.plan(model, then={"status": 429, "headers": headers})
    async with client(fault_server) as ours:
        with pytest.raises(RateLimited) as caught:
            await ask(ours, model, stream=False)
    assert caught.value.retry_after == 86_400
    assert len(caught.value.request_id or "") == 256
