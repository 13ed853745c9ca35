"""A claim: a job taken from a lane, its token, and what had happened to it before."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from windfall.errors import WireError
from windfall.keys import batch_of, lane_parts
from windfall.result import Attempt, ErrorInfo
from windfall.wire import decode_attempts

logger = logging.getLogger("windfall.claims")

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
