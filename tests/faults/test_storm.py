"""The endpoint is down while hundreds of jobs wait for it: few calls reach it, no job dies, and all complete after."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack
from pathlib import Path

from faultserver import FaultServer
from helpers.processes import worker_process, workers_up
from helpers.requests import requests
from helpers.waiting import eventually
from windfall import Producer

JOBS = 500
WORKERS = 3
#: Seconds for which the endpoint is down, and after which the fleet may probe it: twenty windows, as in the ten minutes
#: of an outage with the default of 30 s.
DOWN, RESET = 5.0, 0.25


def config(folder: Path, server: FaultServer, target: str) -> Path:
    """A windfall.toml with one provider, which needs no key."""
    file = folder / "windfall.toml"
    file.write_text(
        f"""
[models.m]
cloud = ["test:{target}"]

[providers.test]
protocol = "openai"
base_url = {json.dumps(server.url)}
timeout = 5
max_retries = 2
backoff_factor = 0.05
concurrency = 32
breaker = {{ fail_max = 5, window = 10, reset_timeout = {RESET} }}
"""
    )
    return file


async def test_a_storm_of_failures_stays_within_its_budget_and_every_job_completes(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str, tmp_path: Path
) -> None:
    fault_server.plan(model, then={"status": 503})
    file = config(tmp_path, fault_server, model)
    batch = await producer.enqueue_batch(requests(JOBS, route="cloud"))
    began = time.monotonic()
    with ExitStack() as stack:
        for number in range(WORKERS):
            log = tmp_path / f"worker{number}.log"
            stack.enter_context(worker_process(redis_url, "--config", str(file), log=log))
        await workers_up(producer, WORKERS)

        async def failing() -> bool:
            return fault_server.hits(model) > 0

        await eventually(failing, "the first call")
        await asyncio.sleep(DOWN)
        calls, down = fault_server.hits(model), time.monotonic() - began
        assert (await producer.batch(batch.id)).failed == 0
        fault_server.plan(model, then={})
        async with asyncio.timeout(60):
            results = [result async for result in producer.results(batch.id)]
    # What may reach it: the calls under way when the breaker opened, their resendings within the budget
    # (10 a second and a fifth of the calls), and one probe a window.
    at_once = WORKERS * 32
    assert calls <= at_once + (at_once / 5 + 10 * down) + down / RESET
    assert len({result.job_id for result in results}) == len(results) == JOBS
    assert all(result.ok for result in results)
    assert [letter async for letter in producer.dead_letters()] == []
    assert fault_server.hits(model) == JOBS
