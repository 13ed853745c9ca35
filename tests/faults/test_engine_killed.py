"""The engine's process dies under a worker, or with it: no row is lost, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from helpers.models import build_model
from helpers.processes import children, kill, worker_process, workers_up
from helpers.requests import requests
from helpers.waiting import eventually
from windfall import Producer


async def decoding(producer: Producer, batch_id: str) -> None:
    async def some() -> bool:
        status = await producer.batch(batch_id)
        return bool(status.running and status.completed)

    await eventually(some, "rows decoding")


async def test_a_killed_engine_is_replaced_and_every_row_completes(
    producer: Producer, redis_url: str, tmp_path: Path
) -> None:
    model = build_model(tmp_path / "model")
    log = tmp_path / "worker.log"
    batch = await producer.enqueue_batch(requests(60, max_tokens=200, logit_bias={"256": -100}))
    with worker_process(redis_url, "--model", f"m={model}", "--slots", "4", log=log) as process:
        await workers_up(producer, 1)
        await decoding(producer, batch.id)
        (engine,) = children(process.pid)
        os.kill(engine, signal.SIGKILL)
        async with asyncio.timeout(90):
            results = [result async for result in producer.results(batch.id)]
    assert all(result.ok for result in results), [result.error for result in results if not result.ok]
    assert len({result.job_id for result in results}) == len(results) == 60
    lost = [attempt for result in results for attempt in result.attempts if attempt.outcome == "lost"]
    assert lost
    assert all(attempt.error and attempt.error.type == "engine_died" for attempt in lost)
    assert "Traceback" not in log.read_text()


async def test_the_engine_ends_with_its_worker(producer: Producer, redis_url: str, tmp_path: Path) -> None:
    model = build_model(tmp_path / "model")
    with worker_process(redis_url, "--model", f"m={model}") as process:
        await workers_up(producer, 1)
        (engine,) = children(process.pid)
        kill(process)

        async def gone() -> bool:
            try:
                os.kill(engine, 0)
            except ProcessLookupError:
                return True
            status = Path(f"/proc/{engine}/stat")
            return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"

        await eventually(gone, "the engine's end")
