"""Who is told what wait_for on a worker. This base is told, and counts nothing."""

from __future__ import annotations

from typing import Literal

from windfall.result import Attempt, JobState

#: What a worker does with Redis again and again.
Step = Literal["claim", "renew", "deliver", "heartbeat", "look"]


class Recorder:
    """Hears of everything that is worth a number. Its methods never raise and never wait."""

    def claimed(self, seconds: float) -> None:
        """A claim was answered after so many seconds."""

    def began(self, lane: str, waited: float) -> None:
        """A backend has a job for the first time, so many seconds after it was enqueued."""

    def attempted(self, lane: str, attempt: Attempt) -> None:
        """An attempt ended."""

    def returned(self, lane: str, why: str) -> None:
        """A job goes back to its lane, or on to the next backend."""

    def finished(self, lane: str, state: JobState) -> None:
        """Redis has taken a result."""

    def refused(self, answer: str) -> None:
        """Redis has refused a result, or a job put back: it was held by another claim, had its result, or was gone."""

    def leases_lost(self, count: int, why: Literal["held", "gone"]) -> None:
        """So many running jobs were found to be somebody else's, or nobody's."""

    def redis_failed(self, step: Step) -> None:
        """Redis did not do its part."""

    def waits(self, lane: str, jobs: int) -> None:
        """So many jobs of a lane are held by nobody."""


#: For workers without metrics.
SILENT = Recorder()
