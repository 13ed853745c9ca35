"""Speaking the queue protocol as a worker does, one script at a time."""

from __future__ import annotations

import itertools

from arq import ArqRedis

from helpers.waiting import eventually
from windfall import JobState, keys
from windfall.fingerprint import fingerprint
from windfall.result import Completion, CompletionResult, Timings
from windfall.scripts import Script, run
from windfall.wire import decode_job, encode_result
from windfall_worker.jobs.claim import Claim
from windfall_worker.queue.claims import ClaimClient, Claimed, Lease

LANE = keys.lane_queue("m", "auto")
LONG = Lease(60_000, 18_000)
SHORT = Lease(150, 10_000)


_numbers = itertools.count(1)


def claim_client(redis: ArqRedis, worker: str | None = None, lease: Lease = LONG) -> ClaimClient:
    """Of a worker that is no other, unless it is named."""
    return ClaimClient(redis, worker or f"worker{next(_numbers)}", lease)


def answer(claim: Claim, state: JobState = JobState.COMPLETED, text: str = "x") -> bytes:
    asked = decode_job(claim.payload).request if claim.payload else None
    result = CompletionResult(
        job_id=claim.job_id,
        state=state,
        model="m",
        custom_id=asked.custom_id if asked else None,
        fingerprint=fingerprint(asked) if asked else None,
        completion=Completion(content=text) if state is JobState.COMPLETED else None,
        timings=Timings(enqueued_at=1.0, finished_at=2.0),
    )
    return encode_result(result, claim.lane)


async def finish(redis: ArqRedis, claim: Claim, state: JobState = JobState.COMPLETED, text: str = "x") -> bytes:
    args = [claim.job_id, claim.token, state.value, answer(claim, state, text), 60_000, 1, 2, 0, 0, claim.digest]
    done: bytes = await run(redis, Script.FINISH, [claim.lane], args)
    return done


async def finish_some(redis: ArqRedis, count: int, state: JobState = JobState.COMPLETED) -> list[str]:
    """Claim so many jobs and end them; returns their ids."""
    claims = (await claim_client(redis).claim([LANE], count)).claims
    for claim in claims:
        await finish(redis, claim, state)
    return [claim.job_id for claim in claims]


async def release(redis: ArqRedis, claim: Claim, delay_ms: int, fate: str, ledger: str = "") -> bytes:
    done: bytes = await run(redis, Script.RELEASE, [claim.lane], [claim.job_id, claim.token, delay_ms, ledger, fate])
    return done


async def claimed_again(redis: ArqRedis, by: ClaimClient, want: int = 10) -> Claimed:
    async def some() -> Claimed | None:
        claimed = await by.claim([LANE], want)
        return claimed if claimed.claims else None

    found: Claimed = await eventually(some, "a second claim")
    return found
