"""A job that this worker holds, from its claim until Redis has accepted its result or return. It changes itself."""

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
    """A claimed job: its claim, its slot, its ledger, its task, and its result.

    Times are Unix seconds on Redis' clock. `spilled`: it was claimed with the capacity of the cloud mappings. Only the
    methods of this class change a job.
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
        self.begun = False  #: whether a backend has received it; until then, handing it back costs nothing
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
        """The time on Redis' clock."""
        return self.context.clock.carried()

    @property
    def enqueued_at(self) -> float:
        """When the job was enqueued; the current time if its message could not be read."""
        return self._message.et / 1000 if self._message else self.now

    @property
    def trace(self) -> Mapping[str, str]:
        """The context of the span that enqueued the job, as carried by its message."""
        return self._message.trace if self._message else {}

    def read(self) -> JobMessage:
        """Decode its message. Raises `WireError` if it is unreadable, `UnknownContract` if only others can read it."""
        self._check_size()
        self._message = decode_job(self.claim.payload)
        return self._message

    def _check_size(self) -> None:
        """Raise `WireError` for a job that our producer would have rejected, before spending time on decoding it."""
        payload, limit = self.claim.payload, self.context.max_row_bytes
        if len(payload) > limit + ENVELOPE_BYTES:
            reason = f"the job is {len(payload):,} bytes long; the limit is {size(limit)} a row (setting max_row_bytes)"
            raise WireError(reason, payload[:ENVELOPE_BYTES])

    def move_to(self, guarded: GuardedBackend) -> None:
        """Move to this backend, and wait there."""
        self._slot.move(guarded.capacity)

    def begin(self) -> float:
        """Note that a backend has received it. Returns the current time."""
        self.started_at = self.now
        if not self.begun and not len(self.ledger):
            self.context.record.began(self.lane, self.started_at - self.enqueued_at)
        self.begun = True
        return self.started_at

    def leave(self, *, ended: bool) -> None:
        """Free its slot. A job that has not `ended` is going back to its lane."""
        self._slot.leave(ended=ended)

    def hand_back(self, why: str | None = None) -> None:
        """Go back to its lane: from now on the lease is renewed only while Redis still holds it for this worker."""
        self.releasing = True
        if why and self.begun:
            self.ledger.moved_on(why)

    def end_instead_of_returning(self) -> None:
        """Note that Redis did not take it back: it ends here after all."""
        self.releasing = False

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task that runs it, once there is one."""
        return self._task

    @property
    def active(self) -> bool:
        """Whether it is running; a job that has ended may still be waiting for Redis."""
        return self._task is not None and not self._task.done()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in a task of its own."""
        self._task = asyncio.create_task(work)

    def stop(self, why: Stop) -> None:
        """Cancel its task. Calling it again cancels again: Python 3.11 can lose a cancellation inside redis-py."""
        if self._task and not self._task.done():
            self.stopped = self.stopped or why
            # Not at once: a task that is cancelled before its first step never gets to hand the job back.
            asyncio.get_running_loop().call_soon(self._task.cancel)

    def continue_under(self, claim: Claim) -> bool:
        """Continue under a new claim that this worker has made of the same job. Returns whether that is possible."""
        if not self.active or self.stopped or claim.digest != self.claim.digest:
            return False
        self.claim = claim
        if claim.aborted:
            self.stop(Stop.CANCELLED)
        return True

    def completed(self, guarded: GuardedBackend, completion: Completion) -> CompletionResult:
        """The result of a completed job."""
        backend = guarded.backend
        request = self._message.request if self._message else None
        ignored = (*request.ignored, *backend.ignored(request)) if request else ()
        return self._result(JobState.COMPLETED, completion=completion, backend=backend.name, ignored=ignored)

    def failed(self, error: BackendError) -> CompletionResult:
        """The result of a job that failed for good with this error."""
        info = ErrorInfo(type=error.kind, code=error.code, message=str(error), param=error.param, status=error.status)
        return self._result(JobState.FAILED, error=info)

    def ended(self, state: JobState, kind: str, message: str) -> CompletionResult:
        """The result of a job that no backend ended; its message may be unreadable."""
        return self._result(state, error=ErrorInfo(type=kind, message=message))

    def cancelled(self) -> CompletionResult:
        """The result of a job that was cancelled after a worker had claimed it; its message may be unreadable."""
        if self._message is None:
            with suppress(WireError):
                self.read()
        when = "while" if self.begun else "before"
        return self.ended(JobState.CANCELLED, "cancelled", f"cancelled {when} it ran")

    def worker_lost(self) -> CompletionResult:
        """The result of a job during which workers or engines died too often."""
        message = f"the workers of {self.context.max_deliveries} claims of this job died; it may be what kills them"
        return self.ended(JobState.FAILED, "worker_lost", message)

    def unreadable(self, why: WireError) -> CompletionResult:
        """The result of a job whose message cannot be read, or was kept back: nobody had read it in time."""
        claim = self.claim
        if claim.kept_back:
            message = (
                f"no worker could read this row of {claim.kept_back:,} bytes in time: make it smaller, or run it again "
                "when a worker has a faster connection to Redis"
            )
            return self.ended(JobState.FAILED, "too_large_for_link", message)
        return self.ended(JobState.FAILED, "invalid_payload" if claim.payload else "payload_lost", str(why))

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
