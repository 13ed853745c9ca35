"""What counts as too slow: silence, words that do not come, and a call that has no end. A slow answer is not cut."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

from faultserver import FaultServer
from recordings.play import chunk, chunks
from windfall.errors import AmbiguousOutcome
from windfall_worker.cloud.answer_limits import AnswerLimits
from windfall_worker.cloud.anthropic import AnthropicClient
from windfall_worker.cloud.completion import ChunkCollector
from windfall_worker.cloud.connections import ConnectionsTransport
from windfall_worker.cloud.openai import OpenAIClient
from windfall_worker.cloud.options import CallOptions
from windfall_worker.cloud.provider import ProviderClient

HI = [{"role": "user", "content": "hi"}]
BOTH = pytest.mark.parametrize("protocol", [OpenAIClient, AnthropicClient])
LONG = 30.0


async def ask(
    server: FaultServer,
    model: str,
    *,
    protocol: type[ProviderClient] = OpenAIClient,
    timeout: float = LONG,
    allowance: float = 1.0,
    **limits: Any,
) -> str | None:
    async with protocol(server.url, "sk-test", max_retries=0, timeout=timeout, limits=AnswerLimits(**limits)) as client:
        options = CallOptions(allowance=allowance)
        answer = await client.chat_completion(HI, model, 5, stream=True, options=options)
        assert not isinstance(answer, dict)
        collector = ChunkCollector()
        async for one in answer:
            collector.add(one)
        return collector.completion().content


@BOTH
async def test_a_stream_that_has_spoken_may_not_fall_silent(
    protocol: type[ProviderClient], fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then={"event_delay": 600, "content": "words"})
    if protocol is OpenAIClient:
        fault_server.plan(model, then={"events": chunks({"content": "a"})["events"], "event_delay": 600})
    with pytest.raises(AmbiguousOutcome, match=r"fell silent for 0\.2 s in the middle of its answer.*paid for"):
        await ask(fault_server, model, protocol=protocol, silence=0.2)


async def test_a_model_that_thinks_first_is_not_silent(fault_server: FaultServer, model: str) -> None:
    thinks = [chunk({"role": "assistant", "content": ""}), "".join(chunks({"content": "Hi"})["events"])]
    fault_server.plan(model, then={"events": thinks, "event_delay": 1.5})
    assert await ask(fault_server, model, silence=0.5) == "Hi"


async def test_an_answer_that_begins_late_is_not_silent(fault_server: FaultServer, model: str) -> None:
    fault_server.plan(model, then={"delay": 1.5, **chunks({"content": "Hi"})})
    assert await ask(fault_server, model, silence=0.5) == "Hi"


async def test_comments_keep_no_stream_alive_that_says_nothing(fault_server: FaultServer, model: str) -> None:
    fault_server.plan(model, then={"events": [": still here\n\n"] * 5000, "event_delay": 0.05})
    with pytest.raises(AmbiguousOutcome, match=r"said nothing for 0\.5 s"):
        await ask(fault_server, model, timeout=0.5, silence=LONG)


async def test_pings_keep_no_stream_alive_that_says_nothing(fault_server: FaultServer, model: str) -> None:
    ping = 'event: ping\ndata: {"type": "ping"}\n\n'
    fault_server.plan(model, then={"events": [ping] * 5000, "event_delay": 0.05})
    with pytest.raises(AmbiguousOutcome, match=r"said nothing for 0\.5 s"):
        await ask(fault_server, model, timeout=0.5, silence=LONG, protocol=AnthropicClient)


async def test_a_slow_answer_that_goes_on_is_not_cut(fault_server: FaultServer, model: str) -> None:
    words = ["word "] * 40
    slow = chunks(*({"content": word} for word in words))["events"]
    fault_server.plan(model, then={"events": slow, "event_delay": 0.06})  # 2.5 s in all
    assert await ask(fault_server, model, timeout=2.0, silence=2.0) == "".join(words)


async def test_an_answer_without_end_has_one(fault_server: FaultServer, model: str) -> None:
    endless = [chunk({"content": "word "})] * 5000
    fault_server.plan(model, then={"events": endless, "event_delay": 0.05})
    with pytest.raises(AmbiguousOutcome, match=r"not done within 0\.5 s.*call_timeout"):
        await ask(fault_server, model, seconds=0.5)


async def test_the_allowance_multiplies_every_limit(fault_server: FaultServer, model: str) -> None:
    fault_server.plan(model, then={"events": chunks({"content": "a"})["events"], "event_delay": 600})
    with pytest.raises(AmbiguousOutcome, match=r"fell silent for 0\.4 s"):
        await ask(fault_server, model, silence=0.2, allowance=2.0)
    fault_server.plan(model, then={"events": [chunk({"content": "word "})] * 5000, "event_delay": 0.05})
    with pytest.raises(AmbiguousOutcome, match=r"not done within 0\.8 s"):
        await ask(fault_server, model, seconds=0.4, allowance=2.0)


async def test_the_system_asks_whether_a_silent_endpoint_is_still_there(fault_server: FaultServer) -> None:
    transport = ConnectionsTransport()
    response = await transport.handle_async_request(httpx.Request("GET", f"{fault_server.url}/__seen?model=x"))
    asked = response.extensions["network_stream"].get_extra_info("socket")
    assert asked.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    if hasattr(socket, "TCP_KEEPIDLE"):
        assert asked.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
    await response.aclose()
    await transport.aclose()
