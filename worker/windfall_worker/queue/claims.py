"""A claim: a job taken from a lane, its token, and what had happened to it before."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from arq import ArqRedis
from redis.exceptions import RedisError

from windfall.broker.connection import OUTAGE
from windfall.errors import WireError
from windfall.keys import ANSWER, batch_of, lane_parts
from windfall.result import Attempt, ErrorInfo
from windfall.scripts import Arg, Script, run
from windfall.wire import decode_attempts

logger = logging.getLogger("windfall.claims")

#: Payload bytes of one claim's answer: what a link of half a megabyte a second brings within the time that Redis has to
#: answer, and what Redis reads and sends without keeping others waiting. A single larger job is given all the same.
MOST_BYTES = 4 * 2**20

#: A claim that ended without a word, as claim.lua noted it: `<worker id>:<number>@<ms when it was reclaimed>`, with `?`
#: in place of `@` where the worker had not read that it was given the job. What others wrote there tells of none.
_LOST = re.compile(r"(?P<worker>[^@?]*):\d+(?P<how>[@?])(?P<ms>[0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that is this worker's until its lease ends.

    `deliveries` counts the claims since it last ended in something, this one included. `ledger` and `lost` are its
    earlier attempts and lost leases as Redis has them: a job is claimed before anybody knows whether it can be read.
    `digest` is the SHA-1 of the payload: it names this very job, where its id may have been used again. `turn` counts
    the claims and releases of the job up to this one: where Redis knows of a later one, this claim has ended.
    """

    lane: str
    job_id: str
    token: str
    payload: bytes
    deliveries: int
    ledger: bytes
    lost: str
    aborted: bool
    digest: str = ""
    turn: int = 0

    @property
    def about(self) -> dict[str, str]:
        """What each line of the job's log says of it."""
        batch, lane = batch_of(self.job_id), lane_parts(self.lane)
        return {"job": self.job_id} | ({"batch": batch} if batch else {}) | ({"model": lane[0]} if lane else {})

    def attempts(self) -> tuple[Attempt, ...]:
        """The job's earlier attempts, lost leases among them. A ledger that cannot be read begins anew."""
        try:
            written = decode_attempts(self.ledger) if self.ledger else ()
        except WireError as exc:
            logger.warning("job %s: its ledger cannot be read (%s), and begins anew", self.job_id, exc)
            written = ()
        found = (_LOST.fullmatch(entry) for entry in self.lost.split())
        return written + tuple(
            _lost_attempt(entry["worker"], entry["how"], int(entry["ms"])) for entry in found if entry
        )


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim call brought. Times are Unix seconds on Redis' clock; `next_due` is None for empty lanes, and `cut`
    says that more jobs wait than bytes of them were wanted in one answer.
    """

    now: float
    next_due: float | None
    claims: tuple[Claim, ...]
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Renewed:
    """Jobs that were not just renewed: held by somebody else or finished, to be cancelled, unknown to this Redis."""

    lost: list[str]
    aborted: list[str]
    gone: list[str]


@dataclass(frozen=True, slots=True)
class Lease:
    """How long a claim lasts and how often it is renewed, in milliseconds."""

    length_ms: int
    renewal_ms: int


class ClaimClient:
    """Claims and renews in the name of one worker; every token is given out once."""

    def __init__(self, redis: ArqRedis, worker_id: str, lease: Lease) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._lease = lease
        self._number = 0
        self._unanswered: dict[str, tuple[int, int]] = {}
        self._new_first: dict[str, bool] = {}
        self._telling: set[asyncio.Task[None]] = set()

    async def claim(self, lanes: Sequence[str], want: int) -> Claimed:
        """Take up to `want` jobs of these lanes in one round trip, and about `MOST_BYTES` of payloads.

        Where the answer to the last call for the first of these lanes was lost on its way, it is asked for again. That
        an answer was read is told to Redis meanwhile: jobs of an answer that nobody read have spent no delivery.
        """
        if lanes[0] not in self._unanswered:
            self._unanswered[lanes[0]] = (self._number, want)
            self._number += want
        first, asked = self._unanswered[lanes[0]]
        args: list[Arg] = [self._worker_id, first, asked, self._lease.length_ms, self._lease.renewal_ms]
        new_first = self._new_first.get(lanes[0], False)
        args += [MOST_BYTES, "new" if new_first else "back"]
        now, next_due, jobs, cut = await run(self._redis, Script.CLAIM, lanes, args)
        del self._unanswered[lanes[0]]
        self._new_first[lanes[0]] = not new_first
        if jobs:
            telling = asyncio.create_task(self._tell_of_read(f"{ANSWER}{self._worker_id}:{first}"))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)
        return Claimed(now / 1000, None if next_due < 0 else next_due / 1000, tuple(map(_claim, jobs)), bool(cut))

    async def _tell_of_read(self, answer: str) -> None:
        try:
            await self._redis.delete(answer)
        except (RedisError, *OUTAGE) as exc:
            logger.debug("Redis did not hear that a claim was read (%s); the next renewal tells it", exc)

    async def renew(self, claims: Iterable[Claim], releasing: Iterable[Claim] = ()) -> Renewed:
        """Renew these claims, and those being released only for as long as Redis still has them as ours."""
        args: list[Arg] = [self._lease.length_ms, self._lease.renewal_ms]
        for claim in claims:
            args += [claim.lane, claim.job_id, claim.token, claim.turn, claim.digest]
        for claim in releasing:
            args += [claim.lane, claim.job_id, claim.token, claim.turn, ""]
        answer = await run(self._redis, Script.RENEW, [], args)
        return Renewed(*([name.decode() for name in names] for names in answer))


def _claim(fields: list[Any]) -> Claim:
    lane, job_id, token, payload, deliveries, ledger, lost, aborted, turn = fields
    return Claim(
        lane=lane.decode(),
        job_id=job_id.decode(),
        token=token.decode(),
        payload=payload,
        deliveries=deliveries,
        ledger=ledger,
        lost=lost.decode(errors="replace"),
        aborted=bool(aborted),
        digest=hashlib.sha1(payload, usedforsecurity=False).hexdigest(),
        turn=turn,
    )


def _lost_attempt(worker: str, how: str, noticed_ms: int) -> Attempt:
    if how == "?":
        message = f"worker {worker} was given this job and did not say that it had read so"
        moved_on = "claimed again when its lease had ended; no delivery spent"
    else:
        message = f"worker {worker} held this job and was not heard of again"
        moved_on = "claimed again when its lease had ended; what it had done may have been paid for"
    return Attempt(
        backend="unknown",
        worker=worker,
        started_at=noticed_ms / 1000,
        outcome="lost",
        error=ErrorInfo(type="worker_lost", message=message),
        moved_on=moved_on,
    )
