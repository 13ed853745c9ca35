"""The jobs that this worker holds: each runs in a task of its own, and how it ends is posted to the outbox."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from arq.worker import Function
from structlog.contextvars import bind_contextvars

from windfall.errors import UnknownContract, WireError
from windfall.result import CompletionResult, JobState
from windfall.runtime.tasks import cancel_all
from windfall.scripts import Script, Step
from windfall.wire import encode_attempts, encode_result
from windfall_worker.backends.capacity import Slot
from windfall_worker.control import Gate
from windfall_worker.jobs.claim import Claim
from windfall_worker.jobs.complete import PutBack
from windfall_worker.jobs.context import WorkerContext
from windfall_worker.jobs.decide import Requeue, Retry, Snooze
from windfall_worker.jobs.job import RunningJob, Stop
from windfall_worker.queue.lanes import LaneGroup
from windfall_worker.queue.outbox import Outbox, PendingStep
from windfall_worker.queue.throughput import Throughput

logger = logging.getLogger("windfall.worker")

#: Seconds for which a message of another contract version is left to workers that can read it.
_LEAVE_TO_OTHERS: Final = 30.0
#: What becomes of a job's count of deliveries when it is put back (see release.lua).
_DELIVERIES: Final = {Retry: "reset", Snooze: "undo", Requeue: "keep"}


class RunningJobs(Mapping[str, RunningJob]):
    """Claimed jobs by id, from their claim until Redis has accepted their result or return.

    `functions` and `ctx` are arq's: the function that a job names is called with `ctx`, which holds the job. Results
    are kept for `keep` seconds. While the gate is shut, jobs go straight back to their lanes.
    """

    def __init__(
        self,
        functions: Mapping[str, Any],
        ctx: Mapping[str, Any],
        context: WorkerContext,
        outbox: Outbox,
        gate: Gate,
        *,
        keep: float,
    ) -> None:
        self._functions = functions
        self._ctx = ctx
        self._context = context
        self._outbox = outbox
        self._gate = gate
        self._keep_ms = round(keep * 1000)
        self._jobs: dict[str, RunningJob] = {}
        self._unread, self._unread_logged_at = 0, float("-inf")
        self.throughput = Throughput()
        self.completed = 0  #: jobs that ended with a completion
        self.failed = 0  #: jobs that ended without one

    def __getitem__(self, job_id: str) -> RunningJob:
        return self._jobs[job_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def busy(self) -> bool:
        """Whether any job is running. Jobs that have ended and are waiting for Redis do not count."""
        return any(job.active for job in self._jobs.values())

    def start(self, claim: Claim, group: LaneGroup) -> None:
        """Run a claimed job."""
        if earlier := self._jobs.get(claim.job_id):
            # This worker slept past its lease, or Redis forgot its claim, and it has claimed its own job again.
            if earlier.continue_under(claim):
                return
            earlier.stop(Stop.LOST)
        job = RunningJob(claim, Slot(group.capacity, interactive=claim.interactive), self._context, spilled=group.cloud)
        self._jobs[claim.job_id] = job
        if self._gate.open:
            job.run(self._run(job))
        else:  # the gate was shut while Redis answered
            # No task: one that is cancelled before its first step never gets to hand the job back.
            self._put_back(job, Snooze(0.0), "drain")
            job.leave(ended=False)

    def stop(self, *, begun: bool = True) -> None:
        """Stop jobs and put them back without spending a try: all of them, or (`begun` false) those not yet begun."""
        for job in list(self._jobs.values()):
            if begun or not job.begun:
                job.stop(Stop.DRAINED)

    async def hand_back(self, within: float) -> None:
        """Give running jobs `within` seconds to end, and put the rest back."""
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=within)
        self.stop()
        await cancel_all(self._tasks())

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [job.task for job in self._jobs.values() if job.task]

    async def _run(self, job: RunningJob) -> None:
        """Run one job until it ends, and post how it ended to Redis."""
        bind_contextvars(**job.claim.about)
        ended = True
        try:
            self._post_result(job, await self._outcome(job))
        except asyncio.CancelledError:
            ended = False
            self._post_stop(job)
        except PutBack as put_back:
            ended = False
            self._put_back(job, put_back.decision, type(put_back.decision).__name__.lower())
        except Exception as exc:  # a bug of ours must not cost the job its result
            logger.exception("job %s failed in the worker itself", job.id)
            # Not the exception's text: it may quote the prompt. The log has it.
            message = f"the worker failed on this job ({type(exc).__name__}); see the worker's log"
            self._post_result(job, job.ended(JobState.FAILED, "internal_error", message))
        finally:
            job.leave(ended=ended)

    async def _outcome(self, job: RunningJob) -> CompletionResult:
        claim = job.claim
        if claim.aborted:
            return job.cancelled()
        try:
            message = job.read()
        except UnknownContract as exc:
            self._log_unread(job, exc)
            raise PutBack(Snooze(_LEAVE_TO_OTHERS)) from exc
        except WireError as exc:
            return job.unreadable(exc)
        if claim.deliveries > self._context.max_deliveries:
            return job.worker_lost()
        function: Function | None = self._functions.get(message.f)
        if function is None:
            return job.ended(JobState.FAILED, "unknown_function", f"no function {message.f!r}")
        try:
            ctx = {**self._ctx, "job": job, "job_id": job.id}
            result: CompletionResult = await function.coroutine(ctx, message.request)
        except asyncio.CancelledError:
            if job.stopped is not Stop.CANCELLED:
                raise
            return job.cancelled()
        return result

    def _log_unread(self, job: RunningJob, why: UnknownContract) -> None:
        """Log one line for all of them: thousands of such jobs may come by every half minute."""
        self._unread += 1
        now = time.monotonic()
        if now - self._unread_logged_at >= _LEAVE_TO_OTHERS / 2:
            logger.warning("job %s is %s; left to other workers (%d so far)", job.id, why, self._unread)
            self._unread_logged_at = now

    def _post_result(self, job: RunningJob, result: CompletionResult) -> None:
        claim, usage = job.claim, result.usage
        tokens = (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens)
        data = encode_result(result, claim.lane)
        end = [claim.job_id, claim.token, result.state.value, data, self._keep_ms, *tokens, claim.digest]
        self._post(job, Step(Script.FINISH, [claim.lane], end), result.state)
        self.throughput.note(claim.lane)
        if result.ok:
            self.completed += 1
        else:
            self.failed += 1
        # Only the error's type: its message may quote the prompt.
        kind = f" ({result.error.type})" if result.error else ""
        level = logging.WARNING if result.state is JobState.FAILED else logging.INFO
        # Whoever asked for a line per job wants the failed ones too; otherwise thousands of them are summarised.
        each = {"each": logger.isEnabledFor(logging.INFO)}
        logger.log(level, "job %s %s%s", claim.job_id, result.state.value, kind, extra=each)

    def _post_stop(self, job: RunningJob) -> None:
        if job.stopped is Stop.DRAINED:
            self._put_back(job, Snooze(0.0), "drain", "handed back by its worker; no try spent")
            return
        if job.stopped is Stop.LOST:
            logger.warning("job %s: stopped, because another claim now holds its lease", job.id)
        self._forget(job)

    def _put_back(
        self, job: RunningJob, decision: Retry | Snooze | Requeue, why: str, moved_on: str | None = None
    ) -> None:
        job.hand_back(moved_on)
        claim = job.claim
        delay_ms = round(1000 * getattr(decision, "delay", 0.0))
        ledger = encode_attempts(job.ledger.attempts) if len(job.ledger) else b""
        end = [claim.job_id, claim.token, delay_ms, ledger, _DELIVERIES[type(decision)]]
        self._post(job, Step(Script.RELEASE, [claim.lane], end))
        self._context.record.returned(claim.lane, why)
        logger.info("job %s goes back to its lane for %.1f s", claim.job_id, delay_ms / 1000)

    def _post(self, job: RunningJob, step: Step, state: JobState | None = None) -> None:
        """Post how a job ended. Its lease is renewed until Redis has answered."""

        def answered(answer: bytes | None) -> None:
            if answer == b"cancelled":
                job.end_instead_of_returning()
                self._post_result(job, job.cancelled())
                return
            self._forget(job)
            if answer == b"ok" and state:
                self._context.record.finished(job.lane, state)
            elif answer not in (b"ok", None):
                self._context.record.refused(answer.decode())
                about = job.claim.about
                logger.warning("job %s: Redis refused its result or return (%s)", job.id, answer.decode(), extra=about)

        self._outbox.post(PendingStep(step, job.id, answered))

    def _forget(self, job: RunningJob) -> None:
        if self._jobs.get(job.id) is job:
            del self._jobs[job.id]
