"""Shared prefixes and memory: what is computed once, and who waits."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from helpers.models import build_model, token_id
from helpers.waiting import eventually
from windfall.errors import RequestRejected
from windfall.request import CompletionRequest
from windfall.result import Completion
from windfall_worker.backends.base import Call
from windfall_worker.backends.mlx import MLXBackend
from windfall_worker.engine.protocol import Beat
from windfall_worker.engine.settings import EngineSettings

PREFIX = "the same long beginning " * 20  # 480 tokens
NO_END = {str(token_id("<|im_end|>")): -100.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("models") / "tiny", context=4096)


@pytest.fixture
async def backend(model: Path) -> AsyncIterator[MLXBackend]:
    backend = MLXBackend(str(model), slots=8)
    await backend.start()
    yield backend
    await backend.close()


def ask(text: str, **options: Any) -> CompletionRequest:
    options = {"max_tokens": 6, "temperature": 0.0, "logit_bias": NO_END} | options
    return CompletionRequest(model="tiny", messages=[{"role": "user", "content": text}], **options)


async def together(backend: MLXBackend, *requests: CompletionRequest) -> list[Completion]:
    return await asyncio.gather(*(backend.complete(Call("job", request)) for request in requests))


async def at_once(backend: MLXBackend, *requests: CompletionRequest) -> list[Completion]:
    """All of them reach the engine in one burst, however slow this machine is: it sleeps while they are sent."""
    assert backend.pid
    os.kill(backend.pid, signal.SIGSTOP)
    work = asyncio.gather(*(backend.complete(Call("job", request)) for request in requests))
    await asyncio.sleep(0.05)
    os.kill(backend.pid, signal.SIGCONT)
    return await work


async def settled(backend: MLXBackend) -> Beat:
    """The beat after the last sequence has left."""
    before = backend.beat
    assert before
    await eventually(lambda: backend.beat and backend.beat != before and not backend.beat.active + backend.beat.waiting)
    assert backend.beat
    return backend.beat


async def test_a_prefix_that_arrives_many_times_at_once_is_computed_once(backend: MLXBackend) -> None:
    answers = await at_once(backend, *[ask(f"{PREFIX}{number}") for number in range(30)])
    cached = [answer.usage.cached_tokens for answer in answers]
    assert cached.count(0) == 1
    assert min(cached[1:]) >= 480
    beat = await settled(backend)
    total = sum(answer.usage.prompt_tokens for answer in answers)
    assert beat.prefill_tokens + beat.cached_tokens == total
    assert beat.prefill_tokens < 480 + 30 * 40


async def test_shared_prefixes_change_no_answer(backend: MLXBackend, model: Path) -> None:
    requests = [ask(f"{PREFIX}{'x' * (number % 7)}{number}", max_tokens=12) for number in range(16)]
    shared = await together(backend, *requests)
    unshared = MLXBackend(str(model), slots=1, settings=EngineSettings(prefix_bytes=0))
    await unshared.start()
    try:
        alone = [(await together(unshared, request))[0] for request in requests]
    finally:
        await unshared.close()
    assert all(one.usage.cached_tokens == 0 for one in alone)
    assert [one.content for one in shared] == [one.content for one in alone]


async def test_a_prefix_is_remembered_for_jobs_that_come_later(backend: MLXBackend) -> None:
    answers = [(await together(backend, ask(f"{PREFIX}{number}")))[0] for number in range(4)]
    # The first cannot know; the second sees what it has in common with the first, and keeps it.
    assert [answer.usage.cached_tokens >= 480 for answer in answers] == [False, False, True, True]


async def test_equal_prompts_compute_one_token_each(backend: MLXBackend) -> None:
    answers = await at_once(backend, *[ask(PREFIX) for _ in range(5)])
    assert len({answer.content for answer in answers}) == 1
    cached = sorted(answer.usage.prompt_tokens - answer.usage.cached_tokens for answer in answers)
    assert cached[:4] == [1, 1, 1, 1]


async def test_a_leader_that_is_cancelled_leaves_its_followers_able_to_go_on(backend: MLXBackend) -> None:
    text = "a very long beginning " * 150  # several steps of prefill
    leader = asyncio.create_task(backend.complete(Call("job", ask(text + "first"))))
    followers = [asyncio.create_task(backend.complete(Call("job", ask(text + str(n))))) for n in range(3)]
    await asyncio.sleep(0.02)
    leader.cancel()
    answers = await asyncio.wait_for(asyncio.gather(*followers), 60)
    assert all(answer.usage.completion_tokens == 6 for answer in answers)


async def test_short_prompts_share_nothing(backend: MLXBackend) -> None:
    answers = await together(backend, *[ask(f"short {number}") for number in range(8)])
    assert all(answer.usage.cached_tokens == 0 for answer in answers)


async def test_a_prefix_that_outgrows_its_budget_is_computed_each_time(model: Path) -> None:
    backend = MLXBackend(str(model), slots=4, settings=EngineSettings(prefix_bytes=1000))
    await backend.start()
    try:
        answers = await together(backend, *[ask(f"{PREFIX}{number}") for number in range(6)])
    finally:
        await backend.close()
    assert all(answer.usage.completion_tokens == 6 for answer in answers)
    assert all(answer.usage.cached_tokens == 0 for answer in answers)


async def test_the_big_one_waits_for_memory_and_all_its_neighbours_finish(model: Path) -> None:
    # Room for 4096 tokens of 512 bytes: eight small sequences (256 each), or the big one (3840) by itself.
    backend = MLXBackend(str(model), slots=8, settings=EngineSettings(kv_bytes=4096 * 512))
    await backend.start()
    assert backend.ready
    assert backend.ready.kv_bytes_per_token == 512
    order: list[str] = []
    most_active = 0

    async def run(name: str, request: CompletionRequest) -> Completion:
        completion = await backend.complete(Call(name, request))
        order.append(name)
        return completion

    try:
        small = [run(f"small {number}", ask(f"{number}", max_tokens=100)) for number in range(4)]
        big = run("big", ask("big " * 900, max_tokens=20))
        later = [run(f"later {number}", ask(f"{number}", max_tokens=100)) for number in range(40)]
        work = asyncio.gather(*small, big, *later)
        while not work.done():
            await asyncio.sleep(0.01)
            if backend.beat:
                most_active = max(most_active, backend.beat.active)
        answers = await work
        assert all(answer.usage.completion_tokens in (20, 100) for answer in answers)
        assert len(order) == 45
        # It let some pass, for which there was room, but not all of them.
        assert 4 <= order.index("big") < 44
        assert most_active > 1
    finally:
        await backend.close()


async def test_what_never_fits_the_memory_is_refused_with_the_numbers(model: Path) -> None:
    backend = MLXBackend(str(model), slots=8, settings=EngineSettings(kv_bytes=1024 * 512))
    await backend.start()
    try:
        with pytest.raises(RequestRejected, match=r"holds 1024 tokens"):
            await backend.complete(Call("job", ask("x", max_tokens=2000)))
        completion = await backend.complete(Call("job", ask("x", max_tokens=None)))
        assert completion.usage.total_tokens == 1024
    finally:
        await backend.close()
