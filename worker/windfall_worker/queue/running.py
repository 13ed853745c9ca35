"""A job that this worker holds, and why it may be stopped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum

from windfall.request import CompletionRequest
from windfall_worker.backends.capacity import Slot
from windfall_worker.jobs.job import Job
from windfall_worker.queue.claims import Claim
from windfall_worker.queue.lanes import LaneGroup


class Stop(Enum):
    """Why a running job is stopped."""

    CANCELLED = "cancelled"
    LOST = "lost"
    GONE = "gone"
    DRAINED = "drained"


@dataclass(slots=True)
class Running:
    """A claimed job, from its claim until Redis has taken its end."""

    claim: Claim
    group: LaneGroup
    slot: Slot
    job: Job | None = None
    task: asyncio.Task[None] | None = None
    request: CompletionRequest | None = None
    stopped: Stop | None = None
    releasing: bool = False  #: whether its release is on its way to Redis

    def go_on_under(self, claim: Claim) -> bool:
        """Go on with the same job under a new claim of this worker's own. Returns whether it can."""
        if self.task is None or self.task.done() or self.stopped or claim.digest != self.claim.digest:
            return False
        self.claim = claim
        if claim.aborted:
            self.stop(Stop.CANCELLED)
        return True

    def stop(self, why: Stop) -> None:
        """Cancel it. Said again it is done again: Python 3.11 can lose a cancellation inside redis-py."""
        if self.task and not self.task.done():
            self.stopped = self.stopped or why
            # Not at once: a task cancelled before its first step would never come to hand the job back.
            asyncio.get_running_loop().call_soon(self.task.cancel)
