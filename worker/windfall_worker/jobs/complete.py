"""The arq function: takes a request, tries the backends of its route, and returns the result."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any

from arq import ArqRedis
from arq import Retry as ArqRetry
from structlog.contextvars import bind_contextvars

from windfall.errors import BackendError, EngineDied, ModelNotFound
from windfall.request import CompletionRequest, Route
from windfall.result import Completion, CompletionResult, JobState
from windfall_worker.backends.base import Call
from windfall_worker.backends.routing import GuardedBackend, candidates
from windfall_worker.jobs.decide import LONGER, Decision, Fail, Fallback, Requeue, Retry, Snooze, decide
from windfall_worker.jobs.deltas import DeltaWriter
from windfall_worker.jobs.job import RunningJob
from windfall_worker.jobs.spans import attempt_span, job_span


class PutBack(ArqRetry):
    """The job goes back to its lane. `decision` says when, and whether that spends a try."""

    def __init__(self, decision: Retry | Snooze | Requeue) -> None:
        super().__init__(defer=getattr(decision, "delay", 0.0))
        self.decision = decision


async def complete(ctx: dict[str, Any], request: CompletionRequest) -> CompletionResult:
    """Complete one request within its deadline. Raises `PutBack` (arq's `Retry`) when the job is to run again."""
    job: RunningJob = ctx["job"]
    with job_span(job, job.trace) as span:
        result = await _in_time(ctx["redis"], job, request)
        span.ended(result)
        return result


async def _in_time(redis: ArqRedis, job: RunningJob, request: CompletionRequest) -> CompletionResult:
    if request.deadline is None:
        return await _try_each(redis, job, request, None)
    left = job.enqueued_at + request.deadline - job.now
    if left <= 0:
        return _expired(job, request)
    try:
        async with asyncio.timeout(left) as limit:
            return await _try_each(redis, job, request, left)
    except TimeoutError:
        if not limit.expired():
            raise
        return _expired(job, request)


def _expired(job: RunningJob, request: CompletionRequest) -> CompletionResult:
    message = f"not done within its deadline of {request.deadline:g} s"
    return job.ended(JobState.EXPIRED, "deadline_exceeded", message)


async def _try_each(
    redis: ArqRedis, job: RunningJob, request: CompletionRequest, left: float | None
) -> CompletionResult:
    """Try the backends of the route in order; decide.py decides what follows from a failure."""
    served_by = job.context.backends.get(request.model)
    backends = candidates(served_by, request.route, spilled=job.spilled) if served_by else ()
    if not backends:
        return job.failed(_no_backend(job, request))
    backends = job.ledger.unspoilt(backends)
    if not backends:
        return job.failed(job.ledger.last_error())
    for number, guarded in enumerate(backends, start=1):
        try:
            return await _try(redis, job, request, guarded, left)
        except BackendError as error:
            more = number < len(backends)
            decision = _decide(job, request, more=more)
            job.ledger.moved_on(decision)
            if isinstance(decision, Fail):
                return job.failed(error)
            if not isinstance(decision, Fallback):
                raise PutBack(decision) from error
            job.context.record.returned(job.lane, "fallback")
    raise AssertionError("decide() asked for a fallback, but no backend is left")


def _decide(job: RunningJob, request: CompletionRequest, *, more: bool) -> Decision:
    ledger, policy = job.ledger, job.context.policy
    return decide(ledger.errors, ledger.attempts, policy, more=more, on_ambiguous=request.on_ambiguous)


async def _try(
    redis: ArqRedis, job: RunningJob, request: CompletionRequest, guarded: GuardedBackend, left: float | None
) -> CompletionResult:
    """Make one attempt, and record it in the ledger however it ends. Raises the backend's error."""
    job.move_to(guarded)
    started = job.now
    try:
        async with guarded.limit, guarded.enter(job.sharing):
            started = job.begin()
            completion = await _attempt(redis, job, request, guarded, left)
    except asyncio.CancelledError:
        if job.begun:
            job.ledger.note(guarded, started, outcome="cancelled")
        raise
    except BackendError as error:
        job.ledger.note_error(guarded, started, error)
        raise
    facts = {"usage": completion.usage, "model": completion.model, "request_id": completion.request_id}
    job.ledger.note(guarded, started, outcome="completed", **facts)
    return job.completed(guarded, completion)


async def _attempt(
    redis: ArqRedis, job: RunningJob, request: CompletionRequest, guarded: GuardedBackend, left: float | None
) -> Completion:
    number = len(job.ledger) + 1
    bind_contextvars(attempt=number, backend=guarded.backend.name)
    # Most jobs have no follower, and even a generator that yields nothing takes 5 % of a short job's time.
    writing = DeltaWriter.maybe(redis, job.id, number, wanted=True) if request.stream else nullcontext()
    with attempt_span(job, request, guarded, number) as span:
        async with writing as deltas:
            allowance = LONGER if job.ledger.timed_out(guarded) else 1.0
            call = Call(job.id, request, number, left, deltas.add if deltas else None, allowance)
            failure: BackendError | None = None
            async with guarded.guard():
                try:
                    completion = await guarded.backend.complete(call)
                except EngineDied:
                    raise
                except BackendError as error:
                    # A request that the engine refuses must not count against the engine.
                    failure = error
                else:
                    span.completed(completion)
                    return completion
            raise failure


def _no_backend(job: RunningJob, request: CompletionRequest) -> ModelNotFound:
    if request.model not in job.context.backends:
        return ModelNotFound(f"worker {job.context.worker} does not serve model {request.model!r}")
    where = "on this machine" if request.route is Route.LOCAL else "in the cloud"
    return ModelNotFound(f"worker {job.context.worker} serves {request.model!r}, but not {where}")
