"""A claim: a job taken from a lane, the claim's token, and the job's history."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Final

from windfall.errors import WireError
from windfall.keys import batch_of, lane_parts
from windfall.result import Attempt, ErrorInfo
from windfall.wire import decode_attempts

logger = logging.getLogger("windfall.claims")

#: A lost claim, as claim.lua notes it: `<worker id>:<number>@<ms when it was reclaimed>`, with `?` in place of `@` if
#: the worker never confirmed that it had read the claim. Anything else in that field is ignored.
_LOST: Final = re.compile(r"(?P<worker>[^@?]*):\d+(?P<how>[@?])(?P<ms>[0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker holds until its lease expires.

    `deliveries` counts the claims since the job last had an outcome, this one included. `ledger` and `lost` are its
    earlier attempts and lost leases, as stored in Redis and not yet decoded: they may be unreadable. `digest` is the
    SHA-1 of the payload: it identifies the job even if its id was used again. `turn` counts the claims and releases of
    the job up to this one: if Redis knows of a later one, this claim has ended. `kept_back`
    is the size in bytes of a payload that was left out because no answer with it was ever read. An `interactive` job is
    one that somebody waits for.
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
    kept_back: int = 0
    interactive: bool = False

    @property
    def about(self) -> dict[str, str]:
        """The fields that every log line about the job carries."""
        batch, lane = batch_of(self.job_id), lane_parts(self.lane)
        return {"job": self.job_id} | ({"batch": batch} if batch else {}) | ({"model": lane[0]} if lane else {})

    def attempts(self) -> tuple[Attempt, ...]:
        """The job's earlier attempts, lost leases included. An unreadable ledger is replaced by an empty one."""
        try:
            recorded = decode_attempts(self.ledger) if self.ledger else ()
        except WireError as exc:
            logger.warning("job %s: its ledger cannot be read (%s); starting a new one", self.job_id, exc)
            recorded = ()
        matches = (_LOST.fullmatch(entry) for entry in self.lost.split())
        return recorded + tuple(
            _lost_attempt(match["worker"], match["how"], int(match["ms"])) for match in matches if match
        )


def _lost_attempt(worker: str, how: str, noticed_ms: int) -> Attempt:
    if how == "?":
        message = f"worker {worker} was given this job but never confirmed it"
        moved_on = "claimed again after its lease expired; no delivery spent"
    else:
        message = f"worker {worker} held this job and was not heard from again"
        moved_on = "claimed again after its lease expired; work already done may have been paid for"
    return Attempt(
        backend="unknown",
        worker=worker,
        started_at=noticed_ms / 1000,
        outcome="lost",
        error=ErrorInfo(type="worker_lost", message=message),
        moved_on=moved_on,
    )
