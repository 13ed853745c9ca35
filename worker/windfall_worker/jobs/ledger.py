"""A job's ledger: every attempt at it, where that ran, what it cost, and why the job moved on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from windfall.errors import TIMEOUT, BackendError
from windfall.result import Attempt, ErrorInfo
from windfall_worker.backends.routing import GuardedBackend
from windfall_worker.jobs.context import WorkerContext
from windfall_worker.jobs.decide import LATER, Decision, Fail, Fallback, Place, Requeue, Retry, Snooze, failures, spoilt

#: The outcome of an attempt by its error; with any other error it has `failed`.
_OUTCOMES: Final = {"engine_died": "lost", "ambiguous": "ambiguous", "circuit_open": "skipped", "parked": "skipped"}


class Ledger:
    """The attempts at one job, those of earlier deliveries first."""

    def __init__(self, attempts: Iterable[Attempt], lane: str, context: WorkerContext) -> None:
        self._attempts = list(attempts)
        self._lane = lane
        self._context = context
        self._errors: list[BackendError] = []

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts so far, in order."""
        return tuple(self._attempts)

    @property
    def errors(self) -> tuple[BackendError, ...]:
        """What went wrong in this delivery, in order."""
        return tuple(self._errors)

    def __len__(self) -> int:
        return len(self._attempts)

    def unspoilt(self, backends: tuple[GuardedBackend, ...]) -> tuple[GuardedBackend, ...]:
        """Those that the job may be sent to again."""
        there = spoilt(self._attempts)
        return tuple(guarded for guarded in backends if _place(guarded) not in there)

    def timed_out(self, guarded: GuardedBackend) -> bool:
        """Whether this backend took longer than it was given, since the job was last retried by hand."""
        return failures(self._attempts)[_place(guarded), TIMEOUT] > 0

    def last_error(self) -> BackendError:
        """The error of the last attempt that has one."""
        infos = [attempt.error for attempt in self._attempts if attempt.error]
        return BackendError(infos[-1].message, type=infos[-1].type, status=infos[-1].status)

    def note(self, guarded: GuardedBackend, started: float, **facts: Any) -> None:
        """Record an attempt that began at `started` (Unix seconds on Redis' clock) and ends now."""
        facts.setdefault("model", guarded.backend.model_name)
        took = self._context.clock.carried() - started
        attempt = Attempt(
            backend=guarded.backend.name, worker=self._context.worker, started_at=started, duration=took, **facts
        )
        self._attempts.append(attempt)
        self._context.record.attempted(self._lane, attempt)

    def note_error(self, guarded: GuardedBackend, started: float, error: BackendError) -> None:
        """Record a failed attempt; repeated refusals by one backend are recorded once."""
        self._errors.append(error)
        if error.kind in LATER:
            self._drop_refusal(guarded.backend.name, error.kind)
        info = ErrorInfo(type=error.kind, code=error.code, message=str(error), param=error.param, status=error.status)
        outcome = _OUTCOMES.get(error.kind, "failed")
        self.note(guarded, started, outcome=outcome, error=info, request_id=error.request_id, usage=error.usage)

    def _drop_refusal(self, backend: str, kind: str) -> None:
        """Drop this backend's last refusal if only refusals followed it: the ledger must not grow with each of them.

        One after which the job was run again by hand stays: tries are counted from there.
        """
        for index, attempt in reversed(list(enumerate(self._attempts))):
            if attempt.retried or attempt.error is None or attempt.error.type not in LATER:
                return
            if (attempt.backend, attempt.error.type) == (backend, kind) and attempt.usage is None:
                del self._attempts[index]
                return

    def moved_on(self, why: Decision | str) -> None:
        """Record why the job moved on from its last attempt, if there was one."""
        if self._attempts:
            reason = why if isinstance(why, str) else in_words(why)
            self._attempts[-1] = self._attempts[-1].model_copy(update={"moved_on": reason})


def in_words(decision: Decision) -> str:
    """A decision as the ledger words it."""
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


def _place(guarded: GuardedBackend) -> Place:
    return guarded.backend.name, guarded.backend.model_name
