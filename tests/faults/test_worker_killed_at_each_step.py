"""A worker dies by kill -9 at every step of a job's way: another finishes its jobs, each once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.invariants import Tally, each_row_once, finished, watched
from helpers.processes import program, workers_up
from helpers.requests import requests
from windfall import Producer
from windfall.result import Attempt

ROWS, SLOTS = 24, 4

STEPS = ("claimed", "decoding", "completed", "half-finished", "finished")


@pytest.mark.parametrize("step", STEPS)
async def test_a_worker_killed_at_this_step_costs_no_row_and_none_comes_twice(
    step: str, redis_url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    tally = Tally(tmp_path)
    flags = ("--redis", redis_url, "--simulate", 0.3, "--slots", SLOTS, "--lease", 1.5, "--tally", tally.file)
    async with Producer(redis_url) as producer:
        batch = await producer.enqueue_batch(requests(ROWS), batch_id="b")
        async with watched(redis_url, batch.id):
            with program("worker", *flags, "--die", step) as doomed:
                assert await asyncio.to_thread(doomed.wait, 60) == -signal.SIGKILL
                status = await producer.batch(batch.id)
                assert status.running + status.completed > 0
                with program("worker", *flags):
                    await workers_up(producer, 1)
                    await finished(redis_url, batch.id)
    results = await each_row_once(redis_url, batch.id, ROWS)
    assert all(result.ok for result in results)
    lost = [result for result in results if any(_lost_by(doomed.pid, attempt) for attempt in result.attempts)]
    assert len(lost) == status.running
    record_property("waste", tally.waste(ROWS))
    # What was asked for in vain is what the dead worker held, each row of it once, and the ledgers say so.
    in_vain = set(tally.by(doomed.pid)) & {result.job_id for result in lost}
    assert tally.by(doomed.pid).total() == status.completed + len(in_vain)
    assert (step == "claimed") == (not tally.by(doomed.pid))
    assert tally.unexplained(results) == []


def _lost_by(pid: int, attempt: Attempt) -> bool:
    return attempt.outcome == "lost" and f"-{pid}-" in (attempt.worker or "")
