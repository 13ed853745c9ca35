"""A job that this worker holds, from its claim until Redis has taken its end. Only its own methods change it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any

from windfall.errors import BackendError, WireError
from windfall.fingerprint import fingerprint
from windfall.keys import lane_parts
from windfall.limits import ENVELOPE_BYTES, size
from windfall.request import CompletionRequest
from windfall.result import Completion, CompletionResult, ErrorInfo, JobState, Timings
from windfall.wire import JobMessage, decode_job
from windfall_worker.backends.capacity import Slot
from windfall_worker.backends.routing import GuardedBackend
from windfall_worker.backends.sharing import allowed_sharing
from windfall_worker.jobs.claim import Claim
from windfall_worker.jobs.context import WorkerContext
from windfall_worker.jobs.ledger import Ledger


class Stop(Enum):
    """Why a running job is stopped."""

    CANCELLED = "cancelled"
    LOST = "lost"
    GONE = "gone"
    DRAINED = "drained"


class RunningJob:
    """A claimed job: its claim, its slot, its ledger, its task, and the result that it will have.

    Times are Unix seconds on Redis' clock. `spilled` says that it was claimed for the cloud.
    """

    def __init__(self, claim: Claim, slot: Slot, context: WorkerContext, *, spilled: bool = False) -> None:
        self.id = claim.job_id
        self.lane = claim.lane
        self.spilled = spilled
        self.context = context
        self.claim = claim
        self.ledger = Ledger(claim.attempts(), claim.lane, context)
        self.sharing = allowed_sharing(claim.deliveries, context.max_deliveries, self.ledger.attempts)
        self.started_at = self.now
        self.begun = False  #: whether a backend has had it; before that it can be handed back for free
        self.stopped: Stop | None = None
        self.releasing = False  #: whether its release is on its way to Redis
        self._slot = slot
        self._message: JobMessage | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def model(self) -> str:
        """The model of its lane."""
        return (lane_parts(self.lane) or ("",))[0]

    @property
    def now(self) -> float:
        """Redis' time."""
        return self.context.clock.carried()

    @property
    def enqueued_at(self) -> float:
        """When it was enqueued; now, for a job whose message could not be read."""
        return self._message.et / 1000 if self._message else self.now

    @property
    def trace(self) -> Mapping[str, str]:
        """The span that enqueued it, as its message carried it."""
        return self._message.trace if self._message else {}

    def read(self) -> JobMessage:
        """Its message. Raises `WireError` where that cannot be read, `UnknownContract` where others can."""
        self._check_size()
        self._message = decode_job(self.claim.payload)
        return self._message

    def _check_size(self) -> None:
        """Raise `WireError` for a job that no producer of ours would have taken, before it is decoded at length."""
        payload, most = self.claim.payload, self.context.max_row_bytes
        if len(payload) > most + ENVELOPE_BYTES:
            reason = f"the job has {len(payload):,} bytes; a row of {size(most)} is the most (setting max_row_bytes)"
            raise WireError(reason, payload[:ENVELOPE_BYTES])

    def move_to(self, guarded: GuardedBackend) -> None:
        """It waits for this backend from now on."""
        self._slot.move(guarded.capacity)

    def begin(self) -> float:
        """A backend has it now. Returns when that is."""
        self.started_at = self.now
        if not self.begun and not len(self.ledger):
            self.context.record.began(self.lane, self.started_at - self.enqueued_at)
        self.begun = True
        return self.started_at

    def leave(self, *, ended: bool) -> None:
        """Free its slot. A job that has not `ended` goes back to its lane."""
        self._slot.leave(ended=ended)

    def hand_back(self, why: str | None = None) -> None:
        """It goes back to its lane: from now on its lease is renewed only for as long as Redis still has it as ours."""
        self.releasing = True
        if why and self.begun:
            self.ledger.moved_on(why)

    def end_in_place_of_going_back(self) -> None:
        """Redis did not take it back: it ends here after all."""
        self.releasing = False

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What runs it, once it runs."""
        return self._task

    @property
    def active(self) -> bool:
        """Whether it runs; one that has ended may still wait for Redis."""
        return self._task is not None and not self._task.done()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this work in a task of its own."""
        self._task = asyncio.create_task(work)

    def stop(self, why: Stop) -> None:
        """Cancel its task. Said again it is done again: Python 3.11 can lose a cancellation inside redis-py."""
        if self._task and not self._task.done():
            self.stopped = self.stopped or why
            # Not at once: a task cancelled before its first step would never come to hand the job back.
            asyncio.get_running_loop().call_soon(self._task.cancel)

    def go_on_under(self, claim: Claim) -> bool:
        """Go on with the same job under a new claim of this worker's own. Returns whether it can."""
        if not self.active or self.stopped or claim.digest != self.claim.digest:
            return False
        self.claim = claim
        if claim.aborted:
            self.stop(Stop.CANCELLED)
        return True

    def completed(self, guarded: GuardedBackend, completion: Completion) -> CompletionResult:
        """The result with a completion."""
        backend = guarded.backend
        request = self._message.request if self._message else None
        ignored = (*request.ignored, *backend.ignored(request)) if request else ()
        return self._result(JobState.COMPLETED, completion=completion, backend=backend.name, ignored=ignored)

    def failed(self, error: BackendError) -> CompletionResult:
        """The result of a job that failed for good of this error."""
        info = ErrorInfo(type=error.kind, message=str(error), status=error.status)
        return self._result(JobState.FAILED, error=info)

    def ended(self, state: JobState, kind: str, message: str) -> CompletionResult:
        """The result of a job that ended beside its backends, perhaps without having been read."""
        return self._result(state, error=ErrorInfo(type=kind, message=message))

    def cancelled(self) -> CompletionResult:
        """The result of a job that was cancelled after a worker had claimed it, readable or not."""
        if self._message is None:
            with suppress(WireError):
                self.read()
        when = "while" if self.begun else "before"
        return self.ended(JobState.CANCELLED, "cancelled", f"cancelled {when} it ran")

    def worker_lost(self) -> CompletionResult:
        """The result of a job under which workers or engines died too often."""
        message = f"{self.context.max_deliveries} claims of this job ended without a word: it may be what ends them"
        return self.ended(JobState.FAILED, "worker_lost", message)

    def _result(self, state: JobState, **facts: Any) -> CompletionResult:
        request: CompletionRequest | None = self._message.request if self._message else None
        if request:
            facts |= {"custom_id": request.custom_id, "metadata": request.metadata, "fingerprint": fingerprint(request)}
        started = self.started_at if request else None
        return CompletionResult(
            job_id=self.id,
            state=state,
            model=request.model if request else self.model,
            attempts=self.ledger.attempts,
            timings=Timings(enqueued_at=self.enqueued_at, started_at=started, finished_at=self.now),
            worker=self.context.worker,
            **facts,
        )
