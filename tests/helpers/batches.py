"""Batches in the states that tests want them in."""

from __future__ import annotations

import itertools

from arq import ArqRedis

from helpers.support import eventually
from windfall import (
    BatchStatus,
    JobState,
    Producer,
    keys,
)
from windfall.result import Completion, CompletionResult, Timings
from windfall.scripts import Script, run
from windfall.wire import encode_result
from windfall_worker.jobs.claim import Claim
from windfall_worker.queue.claims import ClaimClient, Lease

LANE = keys.lane_queue("m", "auto")
_numbers = itertools.count(1)


def claim_client(redis: ArqRedis, lease_ms: int = 60_000) -> ClaimClient:
    return ClaimClient(redis, f"w{next(_numbers)}", Lease(lease_ms, 18_000))


async def finish(redis: ArqRedis, claim: Claim, state: JobState = JobState.COMPLETED) -> bytes:
    result = CompletionResult(
        job_id=claim.job_id,
        state=state,
        model="m",
        completion=Completion(content="x") if state is JobState.COMPLETED else None,
        timings=Timings(enqueued_at=1.0, finished_at=2.0),
    )
    end = [claim.job_id, claim.token, state.value, encode_result(result, LANE), 60_000, 0, 0, 0, 0]
    answer: bytes = await run(redis, Script.FINISH, [LANE], end)
    return answer


async def finish_some(redis: ArqRedis, count: int, state: JobState = JobState.COMPLETED) -> list[str]:
    claims = (await claim_client(redis).claim([LANE], count)).claims
    for claim in claims:
        await finish(redis, claim, state)
    return [claim.job_id for claim in claims]


async def in_state(producer: Producer, batch_id: str, **counts: int) -> BatchStatus:
    """The batch, once it has these counts."""

    async def reached() -> BatchStatus | None:
        status = await producer.batch(batch_id)
        return status if all(getattr(status, name) == count for name, count in counts.items()) else None

    found: BatchStatus = await eventually(reached, within=30, what=f"{counts} of batch {batch_id}")
    return found


async def keys_of(redis: ArqRedis, *parts: str) -> set[str]:
    """Every key that has one of these parts in its name, or in a member of a sorted set."""
    found = set()
    async for key in redis.scan_iter(count=1000):
        name = key.decode()
        members = await redis.zrange(key, 0, -1) if await redis.type(key) == b"zset" else []
        if any(part in text for part in parts for text in (name, *(member.decode() for member in members))):
            found.add(name)
    return found
