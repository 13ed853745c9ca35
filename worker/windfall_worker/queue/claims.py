"""Claiming jobs from lanes and renewing their leases, on behalf of one worker."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from arq import ArqRedis

from windfall.broker.connection import REDIS_ERRORS
from windfall.keys import ANSWER
from windfall.runtime.tasks import cancel_all
from windfall.scripts import Arg, Script, run
from windfall_worker.jobs.claim import Claim

logger = logging.getLogger("windfall.claims")

#: Payload bytes in the answer to one claim: what a link of half a megabyte per second transfers within the time that
#: Redis has to answer, and what Redis sends without making others wait. A single larger job is delivered all the same.
MOST_BYTES: Final = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Claimed:
    """The answer to a claim. Times are Unix seconds on Redis' clock; `next_due` is None for empty lanes.

    `cut` means that more jobs are waiting, but `MOST_BYTES` was reached; `reserved` that the slots which are left are
    kept for interactive jobs.
    """

    now: float
    next_due: float | None
    claims: tuple[Claim, ...]
    cut: bool = False
    reserved: bool = False


@dataclass(frozen=True, slots=True)
class Renewed:
    """Jobs whose lease was not simply renewed.

    `lost` jobs are held by another claim or finished, `aborted` ones are to be cancelled, and `gone` ones are unknown
    to this Redis.
    """

    lost: list[str]
    aborted: list[str]
    gone: list[str]


@dataclass(frozen=True, slots=True)
class Lease:
    """How long a claim lasts and how often it is renewed, in milliseconds."""

    length_ms: int
    renewal_ms: int


class ClaimClient:
    """Claims and renews on behalf of one worker; every token is issued once."""

    def __init__(self, redis: ArqRedis, worker_id: str, lease: Lease) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._lease = lease
        self._number = 0
        self._unanswered: dict[str, tuple[int, int, int]] = {}
        self._new_first: dict[str, bool] = {}
        self._confirmations: set[asyncio.Task[None]] = set()

    async def claim(self, lanes: Sequence[str], want: int, *, others: int | None = None) -> Claimed:
        """Take up to `want` jobs from these lanes in one round trip, and about `MOST_BYTES` of payloads.

        If interactive jobs have come lately, at most `others` of them are other jobs (None = any number).

        If the answer to the last call for the first of these lanes was lost, it is requested again. Redis is told in
        the background that an answer was read: jobs in an unread answer have spent no delivery.
        """
        if lanes[0] not in self._unanswered:
            self._unanswered[lanes[0]] = (self._number, want, want if others is None else others)
            self._number += want
        first, asked, asked_others = self._unanswered[lanes[0]]
        args: list[Arg] = [self._worker_id, first, asked, self._lease.length_ms, self._lease.renewal_ms]
        new_first = self._new_first.get(lanes[0], False)
        args += [MOST_BYTES, "new" if new_first else "back", asked_others]
        now, next_due, jobs, cut, reserved = await run(self._redis, Script.CLAIM, lanes, args)
        del self._unanswered[lanes[0]]
        self._new_first[lanes[0]] = not new_first
        if jobs:
            confirming = self._confirm_read(f"{ANSWER}{self._worker_id}:{first}")
            confirmation = asyncio.create_task(confirming, name="claim confirmation")
            self._confirmations.add(confirmation)
            confirmation.add_done_callback(self._confirmations.discard)
        due = None if next_due < 0 else next_due / 1000
        return Claimed(now / 1000, due, tuple(map(_claim, jobs)), bool(cut), bool(reserved))

    async def _confirm_read(self, answer: str) -> None:
        try:
            await self._redis.delete(answer)
        except REDIS_ERRORS as exc:
            logger.debug("could not confirm a claim (%s); the next renewal does", exc)

    async def close(self) -> None:
        """Stop confirming: a call under way would open a connection again that the end of the worker has closed."""
        await cancel_all(self._confirmations)

    async def renew(self, claims: Iterable[Claim], releasing: Iterable[Claim] = ()) -> Renewed:
        """Renew these claims, and those being released for as long as Redis still holds them for this worker."""
        args: list[Arg] = [self._lease.length_ms, self._lease.renewal_ms]
        for claim in claims:
            args += [claim.lane, claim.job_id, claim.token, claim.turn, claim.digest]
        for claim in releasing:
            args += [claim.lane, claim.job_id, claim.token, claim.turn, ""]
        answer = await run(self._redis, Script.RENEW, [], args)
        return Renewed(*([name.decode() for name in names] for names in answer))


def _claim(fields: list[Any]) -> Claim:
    lane, job_id, token, payload, deliveries, ledger, lost, aborted, turn, kept_back, interactive = fields
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
        kept_back=kept_back,
        interactive=bool(interactive),
    )
