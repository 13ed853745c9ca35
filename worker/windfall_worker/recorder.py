"""What the worker reports its events to. This base class ignores them; `metrics/counted.py` counts them."""

from __future__ import annotations

from typing import Final, Literal

from windfall.result import Attempt, JobState

#: What a worker does with Redis repeatedly.
Step = Literal["claim", "renew", "deliver", "heartbeat", "look"]


class Recorder:
    """Receives every event that is worth counting. Its methods never raise and never block."""

    def claimed(self, seconds: float) -> None:
        """A claim was answered after this many seconds."""

    def began(self, lane: str, waited: float) -> None:
        """A backend received a job for the first time, this many seconds after it was enqueued."""

    def attempted(self, lane: str, attempt: Attempt) -> None:
        """An attempt ended."""

    def returned(self, lane: str, why: str) -> None:
        """A job went back to its lane, or on to the next backend."""

    def finished(self, lane: str, state: JobState) -> None:
        """Redis accepted a result."""

    def refused(self, answer: str) -> None:
        """Redis refused a result or a returned job: it was held by another claim, already finished, or deleted."""

    def leases_lost(self, count: int, why: Literal["held", "gone"]) -> None:
        """This many running jobs were found to be held by another claim, or gone."""

    def redis_failed(self, step: Step) -> None:
        """A step with Redis failed."""

    def waits(self, lane: str, jobs: int) -> None:
        """This many jobs of a lane are waiting to be claimed."""


#: For workers without metrics.
SILENT: Final = Recorder()
