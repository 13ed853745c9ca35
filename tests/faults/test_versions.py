"""Workers of two contract versions side by side: what one cannot read it leaves to the other, and says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faults.invariants import Tally, command_rate, each_row_once, finished, watched
from helpers.processes import program, workers_up
from helpers.requests import requests
from helpers.waiting import eventually
from windfall import Producer, keys

LANE = keys.lane_queue("m", "auto")
NEWER = 20


ANOTHER = {"v": 2, "a": [{"of": "another shape"}], "new": True}
A_FIELD = {"v": 1, "a": [{"model": "m", "messages": [{"role": "user", "content": "x"}], "mood": "good"}]}


async def _enqueue_newer(client: Any, newer: dict[str, Any]) -> None:
    """What a producer of a newer version would enqueue, at the head of the lane."""
    for n in range(NEWER):
        message = {"f": "complete", "et": 1, "k": {}} | newer
        await client.set(f"{keys.PAYLOAD}newer{n}", json.dumps(message))
        await client.zadd(LANE, {f"newer{n}": n})


async def _newer_worker(client: Any) -> None:
    """A heartbeat with fields and values that this version does not know."""
    now = (await client.time())[0]
    status = {"id": "newer-1", "host": "h", "pid": 1, "state": "pondering", "started_at": now, "seen_at": now}
    status |= {
        "version": "9.0",
        "mood": {"good": True},
        "models": [{"name": "m", "slots": 4, "backends": ["x"], "y": 1}],
    }
    await client.set(keys.WORKER + "newer-1", json.dumps(status), px=60_000)
    await client.zadd(keys.WORKERS, {"newer-1": now * 1000})


@pytest.mark.parametrize(("newer", "said"), [(ANOTHER, "contract 2"), (A_FIELD, "the field 'mood'")])
async def test_a_newer_worker_and_its_jobs_are_left_alone_and_ours_go_on(
    redis_url: str, tmp_path: Path, newer: dict[str, Any], said: str
) -> None:
    tally, log = Tally(tmp_path), tmp_path / "worker.log"
    flags = ("--redis", redis_url, "--simulate", 0.05, "--slots", 4, "--tally", tally.file)
    async with Producer(redis_url) as producer:
        client: Any = producer.redis
        await _newer_worker(client)
        await _enqueue_newer(client, newer)
        await producer.enqueue_batch(requests(40), batch_id="b")
        with program("worker", *flags, log=log):
            async with watched(redis_url, "b"):
                await workers_up(producer, 2)
                await finished(redis_url, "b")

            async def all_back() -> bool:
                held = await client.keys(keys.HOLDER + "newer*")
                return not held and said in log.read_text()

            await eventually(all_back, "the newer jobs being back in their lane")
            assert await command_rate(client) < 100
        assert {worker.id for worker in (await producer.fleet()).workers} >= {"newer-1"}
        for n in range(NEWER):
            assert await client.exists(f"{keys.PAYLOAD}newer{n}")
            assert await client.zscore(LANE, f"newer{n}") is not None
            assert await client.hget(f"{keys.JOB}newer{n}", "deliveries") == b"0"
    await each_row_once(redis_url, "b", 40)
    assert tally.waste(40) == 0
    assert "Traceback" not in log.read_text()
    assert log.read_text().count(said) <= 2


async def test_a_ledger_that_a_newer_worker_wrote_costs_nobody_the_worker(redis_url: str, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    async with Producer(redis_url) as producer:
        client: Any = producer.redis
        await producer.enqueue_batch(requests(8), batch_id="b")
        await client.hset(keys.JOB + "b:1", "ledger", '[{"backend": "x", "outcome": "pondered", "started_at": 1}]')
        with program("worker", "--redis", redis_url, "--simulate", 0, log=log):
            await finished(redis_url, "b")
    assert all(result.ok for result in await each_row_once(redis_url, "b", 8))
    assert "its ledger cannot be read" in log.read_text()
    assert "Traceback" not in log.read_text()
