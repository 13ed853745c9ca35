"""Engines that hang, are poisoned, or have nothing to load: rows are neither lost nor dragged down with them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.invariants import Tally, each_row_once, finished, watched
from helpers.models import build_model
from helpers.processes import children, program, worker_process
from helpers.requests import request, requests
from helpers.waiting import eventually
from windfall import CompletionRequest, Producer

#: Tokens that keep a row of the tiny model decoding for about a second.
LONG = 300


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("model") / "tiny")


def row(text: str, tokens: int = LONG) -> CompletionRequest:
    # A bias against the end of the text: every row has as many tokens as it may.
    return request(text, max_tokens=tokens, logit_bias={"260": -100})


async def decoding(producer: Producer, batch_id: str) -> None:
    async def some() -> bool:
        status = await producer.batch(batch_id)
        return bool(status.running and status.completed)

    await eventually(some, "rows decoding")


async def test_a_hung_engine_is_killed_by_its_watchdog_and_every_row_completes(
    producer: Producer, redis_url: str, tiny: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    tally, log = Tally(tmp_path), tmp_path / "worker.log"
    flags = ("--redis", redis_url, "--model", tiny, "--slots", 4, "--step-timeout", 3, "--tally", tally.file)
    await producer.enqueue_batch([row(f"row {n}") for n in range(24)], batch_id="b")
    with program("worker", *flags, log=log) as process:
        async with watched(redis_url, "b"):
            await decoding(producer, "b")
            (engine,) = children(process.pid)
            os.kill(engine, signal.SIGSTOP)
            await finished(redis_url, "b", within=90)
    results = await each_row_once(redis_url, "b", 24)
    assert all(result.ok for result in results)
    assert "made no step for 3 s and was killed" in log.read_text()
    assert "Traceback" not in log.read_text()
    record_property("waste", tally.waste(24))


async def test_a_poison_job_fails_as_worker_lost_and_all_its_neighbours_complete(
    producer: Producer, redis_url: str, tiny: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    tally, log = Tally(tmp_path), tmp_path / "worker.log"
    rows = [row("poison" if n == 2 else f"row {n}") for n in range(30)]
    flags = ("--redis", redis_url, "--model", tiny, "--slots", 8, "--tally", tally.file)
    await producer.enqueue_batch(rows, batch_id="b")
    with program("worker", *flags, log=log):
        async with watched(redis_url, "b"):
            await finished(redis_url, "b", within=110)
    results = {result.job_id: result for result in await each_row_once(redis_url, "b", 30)}
    poison = results.pop("b:3")
    assert (poison.state.value, poison.error and poison.error.type) == ("failed", "worker_lost")
    assert [attempt.error and attempt.error.type for attempt in poison.attempts].count("engine_died") == 3
    assert [name for name, result in results.items() if not result.ok] == []
    assert tally.asked["b:3"] == 3
    record_property("waste", tally.waste(30))


async def test_a_cancelled_mlx_job_frees_its_slot(producer: Producer, redis_url: str, tiny: Path) -> None:
    with program("worker", "--redis", redis_url, "--model", tiny, "--slots", 1):
        endless = await producer.enqueue(row("row 1", 2000))

        async def runs() -> bool:
            return (await producer.state(endless)).value == "running"

        await eventually(runs, "the job running")
        following = await producer.enqueue(row("row 2", 5))
        assert await producer.cancel(endless) == 1
        assert (await producer.wait(endless, timeout=60)).state.value == "cancelled"
        assert (await producer.wait(following, timeout=60)).ok


def refusal(redis_url: str, model: Path) -> tuple[int, str]:
    flags = ["-m", "windfall", "worker", "--redis", redis_url, "--model", f"m={model}"]
    done = subprocess.run([sys.executable, *flags], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


async def test_a_model_file_cut_in_half_is_refused_in_one_sentence(redis_url: str, tiny: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(tiny, tmp_path / "broken"))
    weights = broken / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    code, said = await asyncio.to_thread(refusal, redis_url, broken)
    assert code != 0
    assert len(said.strip().splitlines()) == 1, said
    assert str(broken) in said or "broken" in said


async def test_an_engine_that_is_killed_while_it_loads_is_refused_in_one_sentence(
    redis_url: str, tiny: Path, tmp_path: Path
) -> None:
    """What the kernel does to a model that is larger than the memory."""
    log = tmp_path / "worker.log"
    with worker_process(redis_url, "--model", f"m={tiny}", log=log) as process:

        async def engine() -> list[int]:
            return children(process.pid)

        for child in await eventually(engine, "an engine"):
            os.kill(child, signal.SIGKILL)
        assert await asyncio.to_thread(process.wait, 60) != 0
    said = log.read_text()
    assert "cannot be loaded" in said
    assert "Traceback" not in said


async def test_rows_without_an_engine_wait_and_are_not_burned(
    producer: Producer, redis_url: str, tiny: Path, tmp_path: Path
) -> None:
    """The engine is killed twice by something that is none of the rows' fault: they bear that."""
    await producer.enqueue_batch(list(requests(20, max_tokens=100, logit_bias={"260": -100})), batch_id="b")
    with program("worker", "--redis", redis_url, "--model", tiny, "--slots", 4) as process:
        async with watched(redis_url, "b"):
            for _ in range(2):
                await decoding(producer, "b")
                for child in children(process.pid):
                    os.kill(child, signal.SIGKILL)
                await asyncio.sleep(1)
            await finished(redis_url, "b", within=90)
    assert all(result.ok for result in await each_row_once(redis_url, "b", 20))
