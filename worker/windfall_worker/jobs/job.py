"""A job while it runs: its ledger, its place, and the result that it will have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from windfall.broker.clock import RedisClock
from windfall.errors import BackendError
from windfall.fingerprint import fingerprint
from windfall.keys import lane_parts
from windfall.request import CompletionRequest
from windfall.result import Attempt, Completion, CompletionResult, ErrorInfo, JobState, Timings
from windfall_worker.backends.capacity import Slot
from windfall_worker.backends.routing import GuardedBackend, ModelBackends
from windfall_worker.backends.sharing import Sharing
from windfall_worker.jobs.decide import LATER, Decision, Fail, Fallback, Policy, Requeue, Retry, Snooze
from windfall_worker.recorder import SILENT, Recorder


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What every job of a worker shares."""

    backends: Mapping[str, ModelBackends]
    clock: RedisClock
    policy: Policy
    worker: str
    record: Recorder = SILENT


@dataclass(slots=True)
class Job:
    """A running job. Times are in Unix seconds on Redis' clock."""

    id: str
    lane: str
    attempts: list[Attempt]
    enqueued_at: float
    started_at: float
    context: WorkerContext
    slot: Slot
    trace: Mapping[str, str] = field(default_factory=dict)  #: the span that enqueued it, as its message carried it
    spilled: bool = False  #: whether it was claimed for the cloud
    sharing: Sharing = Sharing.ANY  #: with whom it may be in an engine
    begun: bool = False  #: whether a backend has had it; before that it can be handed back for free
    errors: list[BackendError] = field(default_factory=list)  #: of this delivery

    @property
    def model(self) -> str:
        """The model of its lane."""
        return (lane_parts(self.lane) or ("",))[0]

    @property
    def now(self) -> float:
        """Redis' time."""
        return self.context.clock.carried()

    def note(self, guarded: GuardedBackend, started: float, **facts: Any) -> None:
        """Write an attempt into the ledger."""
        backend, worker = guarded.backend.name, self.context.worker
        facts.setdefault("model", guarded.backend.model_name)
        attempt = Attempt(backend=backend, worker=worker, started_at=started, duration=self.now - started, **facts)
        self.attempts.append(attempt)
        self.context.record.attempted(self.lane, attempt)

    def note_error(self, guarded: GuardedBackend, started: float, error: BackendError) -> None:
        """Write a failed attempt into the ledger; the same refusal twice running is one line."""
        self.errors.append(error)
        outcomes = {"engine_died": "lost", "ambiguous": "ambiguous"}
        outcome = "skipped" if error.kind == "circuit_open" else outcomes.get(error.kind, "failed")
        if error.kind in LATER:
            self._unsay(guarded.backend.name, error.kind)
        info = ErrorInfo(type=error.kind, message=str(error), status=error.status)
        self.note(guarded, started, outcome=outcome, error=info, request_id=error.request_id)

    def _unsay(self, backend: str, kind: str) -> None:
        """Take out what this backend said last, if since then all have only said "later": a ledger must not grow."""
        for place, attempt in reversed(list(enumerate(self.attempts))):
            if attempt.error is None or attempt.error.type not in LATER:
                return
            if (attempt.backend, attempt.error.type) == (backend, kind):
                del self.attempts[place]
                return

    def note_decision(self, decision: Decision) -> None:
        """Write into the ledger what was made of the last attempt."""
        self.explain(in_words(decision))

    def explain(self, why: str) -> None:
        """Write into the ledger why the job moved on from its last attempt."""
        self.attempts[-1] = self.attempts[-1].model_copy(update={"moved_on": why})

    def completed(
        self, request: CompletionRequest, guarded: GuardedBackend, completion: Completion
    ) -> CompletionResult:
        """The result with a completion."""
        backend = guarded.backend
        ignored = (*request.ignored, *backend.ignored(request))
        return self._result(request, JobState.COMPLETED, completion=completion, backend=backend.name, ignored=ignored)

    def failed(self, request: CompletionRequest, error: BackendError) -> CompletionResult:
        """The result of a job that failed for good of this error."""
        info = ErrorInfo(type=error.kind, message=str(error), status=error.status)
        return self._result(request, JobState.FAILED, error=info)

    def ended(self, request: CompletionRequest, state: JobState, kind: str, message: str) -> CompletionResult:
        """The result of a job that ended beside its backends."""
        return self._result(request, state, error=ErrorInfo(type=kind, message=message))

    def _result(self, request: CompletionRequest, state: JobState, **facts: Any) -> CompletionResult:
        return CompletionResult(
            job_id=self.id,
            state=state,
            model=request.model,
            custom_id=request.custom_id,
            metadata=request.metadata,
            fingerprint=fingerprint(request),
            attempts=tuple(self.attempts),
            timings=Timings(enqueued_at=self.enqueued_at, started_at=self.started_at, finished_at=self.now),
            worker=self.context.worker,
            **facts,
        )


def in_words(decision: Decision) -> str:
    """A decision as the ledger has it."""
    match decision:
        case Retry(delay):
            return f"to be tried again in {delay:.1f} s"
        case Snooze(delay):
            return f"put back for {delay:.1f} s; no try spent"
        case Requeue():
            return "back to its lane at once"
        case Fallback():
            return "on to the next backend"
        case Fail():
            return "final"
