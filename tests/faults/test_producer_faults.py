"""Producers that die while they submit, or do so twice at once: the batch has each row once."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from faults.invariants import Tally, each_row_once, finished, watched
from helpers.processes import program, workers_up
from windfall import Producer

ROWS = 230
READ_AHEAD = 20


@pytest.mark.parametrize("die_at", [1, 2, 50, 51, 137, ROWS])
async def test_a_producer_killed_at_this_row_is_run_again_and_adds_what_is_missing(
    die_at: int, redis_url: str, tmp_path: Path
) -> None:
    tally = Tally(tmp_path)
    flags = ("--redis", redis_url, "--rows", ROWS, "--chunk", 50)
    worker = ("--redis", redis_url, "--simulate", 0, "--slots", 16, "--tally", tally.file)
    with program("worker", *worker):
        async with Producer(redis_url) as producer, watched(redis_url, "b"):
            await workers_up(producer, 1)
            with program("submitter", *flags, "--die-at", die_at) as doomed:
                assert await asyncio.to_thread(doomed.wait, 60) == -signal.SIGKILL
            # What the reading thread had ahead of the chunks went down with it.
            assert max(die_at - READ_AHEAD, 0) // 50 * 50 <= (await producer.batch("b")).total < die_at
            with program("submitter", *flags) as again:
                assert await asyncio.to_thread(again.wait, 60) == 0
            await finished(redis_url, "b")
    await each_row_once(redis_url, "b", ROWS)
    assert tally.waste(ROWS) == 0


async def test_two_producers_that_submit_one_batch_at_once_add_each_row_once(redis_url: str, tmp_path: Path) -> None:
    tally = Tally(tmp_path)
    flags = ("--redis", redis_url, "--rows", 3000, "--chunk", 20)
    worker = ("--redis", redis_url, "--simulate", 0, "--slots", 64, "--tally", tally.file)
    with program("worker", *worker), program("submitter", *flags) as one, program("submitter", *flags) as other:
        async with watched(redis_url, "b"):
            for process in (one, other):
                assert await asyncio.to_thread(process.wait, 90) == 0
            await finished(redis_url, "b")
    await each_row_once(redis_url, "b", 3000)
    assert tally.waste(3000) == 0
