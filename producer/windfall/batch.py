"""A batch: a named set of jobs submitted together, and its status at one instant."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypedDict

from pydantic import Field

from windfall.result import Usage
from windfall.shapes import Record


class BatchState(StrEnum):
    """The states of a batch."""

    SUBMITTING = "submitting"  #: rows are still being added
    RUNNING = "running"  #: all rows are in; some have no result yet
    FINISHED = "finished"  #: every row has its result
    CANCELLED = "cancelled"  #: it was cancelled, and every row has its result


class BatchOptions(TypedDict, total=False):
    """What is said about a batch when it is opened; an existing batch keeps its own values.

    `keep` is the number of seconds for which the batch and its results are kept after its end (None = the producer's,
    0 = forever). Rows that are unfinished `deadline` seconds after the opening expire. `owner` is whose share of the
    fleet its rows come out of, together with the owner's other batches (None = the batch has a share of its own).
    `priority`, from -9 to 9, is that of rows that do not name their own: each level doubles the share. `interactive`
    rows go before all others.
    """

    metadata: Mapping[str, str] | None
    keep: float | None
    deadline: float | None
    owner: str | None
    priority: int
    interactive: bool


class BatchStatus(Record):
    """A batch at one instant, from one atomic read, so that the counts always add up to `total`."""

    id: str
    total: int = 0
    queued: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    sealed: bool = False  #: whether all rows are in
    cancel_requested: bool = False
    paused: bool = False  #: whether it is paused: queued rows wait, running rows finish
    metadata: dict[str, str] = Field(default_factory=dict)
    owner: str | None = None  #: whose share of the fleet its rows come out of; None = the batch has one of its own
    priority: int = 0  #: of rows that do not name their own: each level doubles the share
    interactive: bool = False  #: whether its rows go before all others
    usage: Usage = Usage()
    last_row: int = 0  #: the highest row number added so far
    created_at: float  #: Unix seconds on Redis' clock, like every time here
    first_started_at: float | None = None
    finished_at: float | None = None
    deadline_at: float | None = None  #: when unfinished rows expire
    keep: float = 0.0  #: seconds for which the batch and its results are kept after its end; 0 = forever
    now: float  #: when this was read

    @property
    def finished(self) -> int:
        """The number of rows that have their result."""
        return self.completed + self.failed + self.cancelled + self.expired

    @property
    def done(self) -> bool:
        """Whether every row has its result and no more will come."""
        return self.sealed and self.finished == self.total

    @property
    def kept_until(self) -> float | None:
        """When the batch and its results are removed; None while it is unfinished, or if it is kept forever."""
        return self.finished_at + self.keep if self.finished_at is not None and self.keep else None

    @property
    def state(self) -> BatchState:
        """The batch's state."""
        if self.done:
            return BatchState.CANCELLED if self.cancel_requested else BatchState.FINISHED
        return BatchState.RUNNING if self.sealed else BatchState.SUBMITTING

    @property
    def rate(self) -> float | None:
        """Rows finished per second since the first one started; None if unknown, or while paused."""
        if self.first_started_at is None or not self.finished or (self.paused and not self.done):
            return None
        elapsed = (self.finished_at or self.now) - self.first_started_at
        return self.finished / elapsed if elapsed > 0 else None

    @property
    def eta(self) -> float | None:
        """Seconds until the last row finishes if the rate holds; 0 when done, None if unknown.

        It is unknown while the batch is paused, or no row is running.
        """
        if self.done:
            return 0.0
        if self.paused or not self.running:
            return None
        return (self.total - self.finished) / self.rate if self.rate else None
