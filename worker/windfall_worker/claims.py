"""A claim: a job taken from a lane, its token, and what had happened to it before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from arq import ArqRedis

from windfall.result import Attempt, ErrorInfo
from windfall.scripts import Arg, Script, run
from windfall.wire import decode_attempts


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that is this worker's until its lease ends.

    `deliveries` counts the claims since it last ended in something, this one included. `ledger` holds its earlier
    attempts, lost leases among them.
    """

    lane: str
    job_id: str
    token: str
    payload: bytes
    deliveries: int
    ledger: tuple[Attempt, ...]
    aborted: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim call brought. Times are Unix seconds on Redis' clock; `next_due` is None for empty lanes."""

    now: float
    next_due: float | None
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """How long a claim lasts and how often it is renewed, in milliseconds."""

    length_ms: int
    renewal_ms: int


class ClaimDesk:
    """Claims and renews in the name of one worker; every token is given out once."""

    def __init__(self, redis: ArqRedis, worker_id: str, lease: Lease) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._lease = lease
        self._number = 0

    async def claim(self, lanes: Sequence[str], want: int) -> Claimed:
        """Take up to `want` jobs of these lanes in one round trip."""
        first = self._number
        # Counted before the call: an answer that is lost on the way must not lead to a token being used twice.
        self._number += want
        args: list[Arg] = [self._worker_id, first, want, self._lease.length_ms, self._lease.renewal_ms]
        now, next_due, jobs = await run(self._redis, Script.CLAIM, lanes, args)
        return Claimed(now / 1000, None if next_due < 0 else next_due / 1000, tuple(map(_claim, jobs)))

    async def renew(self, claims: Iterable[Claim]) -> tuple[list[str], list[str]]:
        """Renew these claims; returns the ids that are no longer ours and the ids that are to be cancelled."""
        args: list[Arg] = [self._lease.length_ms, self._lease.renewal_ms]
        for claim in claims:
            args += [claim.lane, claim.job_id, claim.token]
        lost, aborted = await run(self._redis, Script.RENEW, [], args)
        return [name.decode() for name in lost], [name.decode() for name in aborted]


def _claim(fields: list[Any]) -> Claim:
    lane, job_id, token, payload, deliveries, ledger, lost, aborted = fields
    attempts = decode_attempts(ledger) if ledger else ()
    return Claim(
        lane=lane.decode(),
        job_id=job_id.decode(),
        token=token.decode(),
        payload=payload,
        deliveries=deliveries,
        ledger=attempts + tuple(_lost_attempt(entry) for entry in lost.decode().split()),
        aborted=bool(aborted),
    )


def _lost_attempt(entry: str) -> Attempt:
    """A claim that ended without a word, as claim.lua noted it: `<worker id>:<number>@<ms when it was reclaimed>`."""
    token, _, noticed = entry.rpartition("@")
    worker = token.rpartition(":")[0]
    return Attempt(
        backend="unknown",
        worker=worker,
        started_at=int(noticed) / 1000,
        outcome="lost",
        error=ErrorInfo(type="worker_lost", message=f"worker {worker} held this job and was not heard of again"),
        moved_on="claimed again when its lease had ended; what it had done may have been paid for",
    )
