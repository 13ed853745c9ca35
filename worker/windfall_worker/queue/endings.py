"""Results of jobs that no backend completed."""

from __future__ import annotations

from windfall.keys import lane_parts
from windfall.request import CompletionRequest
from windfall.result import CompletionResult, ErrorInfo, JobState, Timings
from windfall_worker.jobs.job import Job, WorkerContext
from windfall_worker.queue.claims import Claim


def failed(
    claim: Claim, job: Job | None, request: CompletionRequest | None, context: WorkerContext, kind: str, message: str
) -> CompletionResult:
    """A job that failed beside its backends; `job` and `request` are None where its payload could not be read."""
    if job and request:
        return job.ended(request, JobState.FAILED, kind, message)
    return _unread(claim, job, context, JobState.FAILED, kind, message)


def _unread(
    claim: Claim, job: Job | None, context: WorkerContext, state: JobState, kind: str, message: str
) -> CompletionResult:
    now = context.clock.carried()
    return CompletionResult(
        job_id=claim.job_id,
        state=state,
        model=(lane_parts(claim.lane) or ("",))[0],
        error=ErrorInfo(type=kind, message=message),
        attempts=tuple(job.attempts) if job else (),
        timings=Timings(enqueued_at=job.enqueued_at if job else now, finished_at=now),
        worker=context.worker,
    )


def cancelled(
    claim: Claim, job: Job | None, request: CompletionRequest | None, context: WorkerContext
) -> CompletionResult:
    """A job that was cancelled after a worker had claimed it; `job` and `request` are None as in `failed`."""
    message = "cancelled while it ran" if job and job.begun else "cancelled before it ran"
    if job and request:
        return job.ended(request, JobState.CANCELLED, "cancelled", message)
    return _unread(claim, job, context, JobState.CANCELLED, "cancelled", message)


def worker_lost(job: Job, request: CompletionRequest, most: int) -> CompletionResult:
    """A job under which workers or engines died too often."""
    message = f"{most} claims of this job ended without a word: it may be what ends them"
    return job.ended(request, JobState.FAILED, "worker_lost", message)
