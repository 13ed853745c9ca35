"""A queue that the version before fair lanes left behind, with every kind of job in it, is worked off as it stands.

`tests/fixtures/first_design.json` has its keys: type and value of each. In it are the batches `mixed` (a row that a
dead worker holds, four that were put back and one that comes back with a delivery spent, one dead letter, one result),
`paused` (five rows that were claimed before and four that were not, all parked), `fresh` (three rows that were never
claimed), `unsealed` (two rows of a submission that was interrupted), and a single job.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from arq import ArqRedis

from faults.invariants import each_row_once
from helpers.batches import in_state, keys_of
from helpers.protocol import LANE, claim_client
from helpers.requests import requests
from helpers.workers import simulated, worker
from windfall import JobState, Producer, keys

QUEUE = json.loads((Path(__file__).parents[1] / "fixtures" / "first_design.json").read_text())


@pytest.fixture(autouse=True)
async def queue(redis: ArqRedis) -> None:
    """The keys of the version before."""
    client: Any = redis
    for name, (kind, value) in QUEUE.items():
        if kind == "string":
            await client.set(name, value)
        elif kind == "hash":
            await client.hset(name, mapping=value)
        elif kind == "set":
            await client.sadd(name, *value)
        elif kind == "zset":
            await client.zadd(name, value)
        else:
            for entry, fields in value:
                await client.xadd(name, fields, id=entry)


async def test_every_row_ends_once_and_nothing_is_left(producer: Producer, redis: ArqRedis, redis_url: str) -> None:
    async with worker(simulated(slots=4), redis_url):
        await in_state(producer, "mixed", completed=7, failed=1)
        await in_state(producer, "fresh", completed=3)
        assert (await producer.batch("paused")).queued == 9
        await producer.resume("batch", "paused")
        await in_state(producer, "paused", completed=9)
        await producer.enqueue_batch(requests(5), batch_id="unsealed")
        await in_state(producer, "unsealed", completed=5)
        assert await producer.retry("mixed") == 1
        await in_state(producer, "mixed", completed=8, failed=0)
    for name, rows in (("mixed", 8), ("paused", 9), ("fresh", 3), ("unsealed", 5)):
        await each_row_once(redis_url, name, rows)
    assert await redis.exists(LANE, LANE + keys.HELD_SUFFIX, keys.SHELVED, keys.PAUSED, keys.RESUMING) == 0


async def test_what_was_paused_comes_back_in_its_order(producer: Producer, redis: ArqRedis) -> None:
    (lane,) = (await producer.fleet()).lanes
    assert (lane.queued, lane.running, lane.parked) == (11, 1, 9)
    await producer.cancel("mixed")
    await producer.cancel("fresh")
    await producer.resume("batch", "paused")
    claimed = [claim.job_id for claim in (await claim_client(redis).claim([LANE], 20)).claims]
    assert [name for name in claimed if name.startswith("paused")][:5] == [f"paused:{row}" for row in range(1, 6)]
    assert {name for name in claimed if name.startswith("paused")} == {f"paused:{row}" for row in range(1, 10)}


async def test_it_shares_the_lane_with_what_is_submitted_now(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(20), batch_id="new")
    first = [claim.job_id for claim in (await claim_client(redis).claim([LANE], 16)).claims]
    assert sum(name.startswith("mixed") for name in first) >= 4  # half of it comes back
    assert sum(name.startswith("new") for name in first) >= 4
    assert sum(name.startswith(("fresh", "unsealed")) for name in first) >= 2


async def test_it_is_cancelled_and_deleted(producer: Producer, redis: ArqRedis) -> None:
    assert await producer.cancel("paused") == 9
    assert (await producer.batch("paused")).cancelled == 9
    assert await producer.cancel("mixed") == 6
    await producer.delete("paused")
    await producer.delete("fresh", cancel=True)
    await producer.delete("unsealed", cancel=True)
    assert await keys_of(redis, "paused:", "fresh", "unsealed") == set()


async def test_an_interrupted_submission_goes_on(producer: Producer, redis: ArqRedis) -> None:
    status = await producer.enqueue_batch(requests(4), batch_id="unsealed")
    assert (status.total, status.queued, status.sealed) == (4, 4, True)
    await producer.pause("batch", "unsealed")
    for _ in range(3):
        names = [claim.job_id for claim in (await claim_client(redis).claim([LANE], 50)).claims]
        assert not [name for name in names if name.startswith("unsealed")]
    await producer.resume("batch", "unsealed")
    names = [claim.job_id for claim in (await claim_client(redis).claim([LANE], 50)).claims]
    assert sorted(names) == [f"unsealed:{row}" for row in range(1, 5)]


async def test_a_single_job_keeps_its_place(producer: Producer, redis: ArqRedis) -> None:
    (name,) = [name for name in QUEUE[LANE][1] if ":" not in name]
    assert await producer.state(name) is JobState.QUEUED
    names = [claim.job_id for claim in (await claim_client(redis).claim([LANE], 20)).claims]
    assert name in names
    rows = [each for each in names if each.startswith(("fresh", "unsealed"))]
    assert names.index(name) < names.index(rows[0])
