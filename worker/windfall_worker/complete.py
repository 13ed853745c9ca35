"""The arq function: a request in, its result out, by way of a backend."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arq import Retry as ArqRetry

from windfall.clock import RedisClock
from windfall.errors import BackendError, ModelNotFound
from windfall.request import CompletionRequest
from windfall.result import Attempt, Completion, CompletionResult, ErrorInfo, JobState, Timings
from windfall_worker.backends.base import Backend, Call
from windfall_worker.decide import Decision, Fail, Policy, Requeue, Retry, Snooze, decide
from windfall_worker.deltas import DeltaWriter

logger = logging.getLogger("windfall.job")


class PutBack(ArqRetry):
    """The job goes back to its lane. `decision` says when, and what that costs it."""

    def __init__(self, decision: Retry | Snooze | Requeue) -> None:
        super().__init__(defer=getattr(decision, "delay", 0.0))
        self.decision = decision


@dataclass(slots=True)
class Station:
    """What completes one model name on this worker."""

    backend: Backend
    limit: asyncio.Semaphore


@dataclass(slots=True)
class Job:
    """A running job: what `complete` needs to know of it besides the request. Times are in Unix seconds."""

    id: str
    attempts: list[Attempt]
    enqueued_at: float
    started_at: float
    worker: str
    begun: bool = False  #: whether a backend has it; before that it can be handed back for free

    def result(
        self, request: CompletionRequest, state: JobState, now: float, *, error: ErrorInfo | None = None
    ) -> CompletionResult:
        """The result of this job when it has no completion."""
        return CompletionResult(
            job_id=self.id,
            state=state,
            model=request.model,
            custom_id=request.custom_id,
            metadata=request.metadata,
            error=error,
            attempts=tuple(self.attempts),
            timings=Timings(enqueued_at=self.enqueued_at, started_at=self.started_at, finished_at=now),
            worker=self.worker,
        )


@dataclass(frozen=True, slots=True)
class Tools:
    """What every job of a worker shares."""

    stations: Mapping[str, Station]
    clock: RedisClock
    policy: Policy
    worker: str


async def complete(ctx: dict[str, Any], request: CompletionRequest) -> CompletionResult:
    """Complete one request within its deadline. Raises `PutBack` (arq's `Retry`) when the job is to run again."""
    tools: Tools = ctx["tools"]
    job: Job = ctx["job"]
    left = None
    if request.deadline is not None:
        left = job.enqueued_at + request.deadline - tools.clock.carried()
        if left <= 0:
            return _expired(job, request, tools)
    try:
        async with asyncio.timeout(left) as limit:
            return await _attempt(ctx, tools, job, request, left)
    except TimeoutError:
        if not limit.expired():
            raise
        return _expired(job, request, tools)


def _expired(job: Job, request: CompletionRequest, tools: Tools) -> CompletionResult:
    error = ErrorInfo(type="deadline_exceeded", message=f"not done within its deadline of {request.deadline:g} s")
    return job.result(request, JobState.EXPIRED, tools.clock.carried(), error=error)


async def _attempt(
    ctx: dict[str, Any], tools: Tools, job: Job, request: CompletionRequest, left: float | None
) -> CompletionResult:
    station = tools.stations.get(request.model)
    if station is None:
        error = ModelNotFound(f"worker {tools.worker} serves no model {request.model!r}")
        return _failed(job, request, tools, error)
    number = len(job.attempts) + 1
    async with station.limit, DeltaWriter.maybe(ctx["redis"], job.id, number, wanted=request.stream) as deltas:
        started = job.started_at = tools.clock.carried()
        job.begun = True
        call = Call(job.id, request, number, left, deltas.add if deltas else None)
        try:
            completion = await station.backend.complete(call)
        except asyncio.CancelledError:
            _note(job, station, tools, started, outcome="cancelled")
            raise
        except BackendError as exc:
            return _after_failure(job, request, tools, _note_error(job, station, tools, started, exc), exc)
    return _completed(job, request, tools, station, started, completion)


def _completed(
    job: Job, request: CompletionRequest, tools: Tools, station: Station, started: float, completion: Completion
) -> CompletionResult:
    _note(job, station, tools, started, outcome="completed", usage=completion.usage, model=completion.model)
    result = job.result(request, JobState.COMPLETED, tools.clock.carried())
    return result.model_copy(update={"completion": completion, "backend": station.backend.name})


def _after_failure(
    job: Job, request: CompletionRequest, tools: Tools, attempt: Attempt, error: BackendError
) -> CompletionResult:
    decision = decide(error, job.attempts, tools.policy, on_ambiguous=request.on_ambiguous)
    job.attempts[-1] = attempt.model_copy(update={"moved_on": _in_words(decision)})
    if isinstance(decision, Fail):
        return _failed(job, request, tools, error)
    raise PutBack(decision)


def _failed(job: Job, request: CompletionRequest, tools: Tools, error: BackendError) -> CompletionResult:
    info = ErrorInfo(type=error.kind, message=str(error), status=error.status)
    return job.result(request, JobState.FAILED, tools.clock.carried(), error=info)


def _note(job: Job, station: Station, tools: Tools, started: float, **facts: Any) -> Attempt:
    duration = tools.clock.carried() - started
    attempt = Attempt(backend=station.backend.name, worker=tools.worker, started_at=started, duration=duration, **facts)
    job.attempts.append(attempt)
    return attempt


def _note_error(job: Job, station: Station, tools: Tools, started: float, exc: BackendError) -> Attempt:
    outcome = {"engine_died": "lost", "ambiguous": "ambiguous"}.get(exc.kind, "failed")
    info = ErrorInfo(type=exc.kind, message=str(exc), status=exc.status)
    return _note(job, station, tools, started, outcome=outcome, error=info, request_id=exc.request_id)


def _in_words(decision: Decision) -> str:
    match decision:
        case Retry(delay):
            return f"to be tried again in {delay:.1f} s"
        case Snooze(delay):
            return f"put back for {delay:.1f} s; no try spent"
        case Requeue():
            return "back to its lane at once"
        case Fail():
            return "final"
