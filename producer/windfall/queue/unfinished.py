"""Jobs that end without a worker (cancelled, or expired): what is known about them, and the result they get."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arq import ArqRedis

from windfall import keys
from windfall.errors import WireError
from windfall.fingerprint import fingerprint
from windfall.placement import lane_route
from windfall.queue.quarantine import answers
from windfall.result import Attempt, CompletionResult, ErrorInfo, JobState, Timings
from windfall.wire import JobMessage, decode_attempts, decode_job


@dataclass(frozen=True, slots=True)
class Unended:
    """A job as stored in Redis; `message` is None if there is none, or it cannot be read.

    `digest` is the SHA-1 of its payload ('' without one): it identifies this job even if the id is used again.
    """

    job_id: str
    message: JobMessage | None
    attempts: tuple[Attempt, ...]
    digest: str

    @property
    def lane(self) -> str:
        """The lane of its request, or an empty string."""
        request = self.message.request if self.message else None
        return keys.lane_queue(request.model, lane_route(request)) if request else ""

    @property
    def lanes(self) -> list[str]:
        """The lane as the keys of a script: an empty name would be a key that no user may access."""
        return [self.lane] if self.lane else []

    def ended(self, state: JobState, error: ErrorInfo, now: float) -> CompletionResult:
        """Its result. `now` is in Unix seconds."""
        request = self.message.request if self.message else None
        return CompletionResult(
            job_id=self.job_id,
            state=state,
            model=request.model if request else "",
            custom_id=request.custom_id if request else None,
            metadata=request.metadata if request else None,
            fingerprint=fingerprint(request) if request else None,
            error=error,
            attempts=self.attempts,
            timings=Timings(enqueued_at=self.message.et / 1000 if self.message else now, finished_at=now),
        )


async def read_unended(redis: ArqRedis, job_ids: Sequence[str]) -> list[Unended]:
    """Read these jobs in one round trip."""
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.mget([keys.PAYLOAD + name for name in job_ids])
        for name in job_ids:
            pipe.hget(keys.JOB + name, "ledger")
        payloads, *ledgers = await answers(redis, pipe)
    return [
        Unended(name, _message(payload), _attempts(ledger), _digest(payload))
        for name, payload, ledger in zip(job_ids, payloads, ledgers, strict=True)
    ]


def _message(payload: bytes | None) -> JobMessage | None:
    try:
        return decode_job(payload) if payload else None
    except WireError:
        return None


def _digest(payload: bytes | None) -> str:
    return hashlib.sha1(payload, usedforsecurity=False).hexdigest() if payload else ""


def _attempts(ledger: bytes | None) -> tuple[Attempt, ...]:
    try:
        return decode_attempts(ledger) if ledger else ()
    except WireError:
        return ()
