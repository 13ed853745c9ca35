"""What every backend keeps, whatever completes behind it: one suite over all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from faultserver import FaultServer
from helpers.models import build_model
from helpers.requests import request
from windfall import Delta
from windfall.errors import BackendUnavailable
from windfall_worker.backends.base import Backend, Call
from windfall_worker.backends.cloud import CloudBackend
from windfall_worker.backends.mlx import MLXBackend
from windfall_worker.backends.simulated import SimulatedBackend
from windfall_worker.cloud.anthropic import AnthropicClient
from windfall_worker.cloud.openai import OpenAIClient

ALL = ("simulated", "mlx", "openai", "anthropic")


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model, built once."""
    return build_model(tmp_path_factory.mktemp("conformance") / "model")


@pytest.fixture(params=ALL)
async def backend(
    request: pytest.FixtureRequest, fault_server: FaultServer, small_model: Path
) -> AsyncIterator[Backend]:
    """Each backend, started."""
    if request.param == "simulated":
        made: Backend = SimulatedBackend(0.05, slots=4)
    elif request.param == "mlx":
        made = MLXBackend(str(small_model), slots=4)
    else:
        protocol = OpenAIClient if request.param == "openai" else AnthropicClient
        client = protocol(fault_server.url, "sk-test")
        made = CloudBackend(client, f"conformance-{request.param}", name=request.param, slots=4)
    await made.start()
    yield made
    await made.close()


def call(number: int = 0, **fields: object) -> Call:
    return Call(f"job-{number}", request(f"text {number}", max_tokens=12, **fields))


async def test_a_completion_has_an_end_and_counts_its_tokens(backend: Backend) -> None:
    completion = await backend.complete(call())
    assert completion.finish_reason in ("stop", "length", "tool_calls")
    assert completion.usage.prompt_tokens > 0
    assert completion.usage.completion_tokens > 0
    assert completion.usage.cached_tokens <= completion.usage.prompt_tokens


async def test_it_says_its_name_and_its_slots(backend: Backend, request: pytest.FixtureRequest) -> None:
    assert backend.name in request.node.name
    assert backend.slots == 4
    assert backend.available


async def test_more_calls_than_slots_all_complete(backend: Backend) -> None:
    completions = await asyncio.gather(*(backend.complete(call(number)) for number in range(10)))
    assert len(completions) == 10


async def test_the_deltas_of_a_followed_call_join_to_its_content(backend: Backend) -> None:
    pieces: list[Delta] = []
    followed = call(stream=True)
    completion = await backend.complete(Call(followed.job_id, followed.request, 1, None, pieces.append))
    assert "".join(piece.content for piece in pieces) == (completion.content or "")
    assert "".join(piece.reasoning for piece in pieces) == (completion.reasoning or "")


async def test_a_cancelled_call_leaves_the_backend_working(backend: Backend) -> None:
    tasks = [asyncio.create_task(backend.complete(call(number))) for number in range(4)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    assert await backend.complete(call(9))


async def test_a_closed_backend_refuses_and_closes_again(backend: Backend) -> None:
    await backend.close()
    await backend.close()
    with pytest.raises(BackendUnavailable, match=r"clos|started"):
        await backend.complete(call())
