"""The arq worker of the fleet: claims with leases, renews, finishes under a token, and drains.

arq gives the function registry, the job context, `Retry`, the start-up and shut-down hooks and the signal handlers.
Replaced are its poll loop and its way of running a job; docs/decisions/0001-arq-with-own-poll-loop.md says why, and
`tests/unit/test_arq_contract.py` fails when arq changes what is relied on here.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from arq import ArqRedis, Worker
from arq.worker import Function
from structlog.contextvars import bind_contextvars

from windfall.broker.announcements import Announcements
from windfall.errors import UnknownContract, WireError
from windfall.keys import CHANNEL_WAKE, CHANNEL_WORKER
from windfall.limits import ENVELOPE_BYTES, size
from windfall.result import CompletionResult, JobState
from windfall.scripts import Script, Step
from windfall.tasks import cancel_all, wait_for
from windfall.wire import JobMessage, decode_job, encode_attempts, encode_result
from windfall_worker.backends.capacity import Slot
from windfall_worker.backends.sharing import sharing
from windfall_worker.control import Gate
from windfall_worker.jobs.complete import PutBack, complete
from windfall_worker.jobs.decide import Requeue, Retry, Snooze
from windfall_worker.jobs.job import Job, WorkerContext
from windfall_worker.queue import endings
from windfall_worker.queue.claiming import Claiming
from windfall_worker.queue.claims import Claim, ClaimClient, Lease
from windfall_worker.queue.lanes import LaneGroup
from windfall_worker.queue.orders import Orders
from windfall_worker.queue.outbox import Outbox, PendingStep
from windfall_worker.queue.renewals import Renewals
from windfall_worker.queue.running import Running, Stop
from windfall_worker.queue.throughput import Throughput
from windfall_worker.settings import WorkerSettings

logger = logging.getLogger("windfall.worker")

#: Seconds for which a message of another contract version is left to workers that read it.
_LEAVE_TO_OTHERS = 30.0
#: Seconds that a claim under way has to come back to a draining worker.
_LAST_CLAIM = 3.0
#: Seconds that the last results have to reach Redis before the worker gives up on it.
_LAST_WORDS = 10.0


class FleetWorker(Worker):
    """Runs `complete` for the jobs of its groups until it is told to stop."""

    def __init__(
        self,
        redis: ArqRedis,
        groups: tuple[LaneGroup, ...],
        settings: WorkerSettings,
        context: WorkerContext,
        *,
        function: Callable[..., Coroutine[Any, Any, CompletionResult]] = complete,
        handle_signals: bool = True,
    ) -> None:
        super().__init__(
            [Function("complete", function, None, None, None, None)],
            queue_name=groups[0].wakes[0],
            redis_pool=redis,
            handle_signals=handle_signals,
            max_jobs=sum(group.capacity.slots for group in groups),
            ctx={"context": context, "redis": redis},
            log_results=False,
        )
        self.id = context.worker
        self.groups = groups
        self.settings = settings
        self.context = context
        self.running: dict[str, Running] = {}
        self.draining = False
        self.gate = Gate()
        self.throughput = Throughput()
        lease = Lease(round(settings.lease * 1000), round(settings.renewal * 1000))
        client = ClaimClient(redis, self.id, lease)
        self._outbox = Outbox(redis, context.record)
        self._announcements = Announcements(redis)
        self._orders = Orders(redis, self, socket.gethostname())
        self._renewals = Renewals(client, self.running, settings.renewal, context.record)
        self._claiming = Claiming(client, self._renewals, self.gate, context, self._start, renewal=settings.renewal)
        self._unread, self._told_of_unread = 0, float("-inf")
        self._told_to_drain = asyncio.Event()

    @property
    def ready(self) -> asyncio.Event:
        """Set once it looks for jobs."""
        return self._claiming.ready

    @property
    def busy(self) -> bool:
        """Whether a job runs here. Those that have ended and wait for Redis do not count."""
        return any(not task.done() for task in self._tasks())

    @property
    def ends_waiting(self) -> int:
        """How many ends of jobs wait until Redis takes them."""
        return len(self._outbox)

    async def main(self) -> None:
        """Work until drained. Raises what ended it, where that is a bug."""
        await self.context.clock.now()
        await self._orders.begin()
        background: list[Coroutine[Any, Any, None]] = [self._outbox.run(), self._renewals.run()]
        # A word on its own channel: some of its jobs are to be cancelled, and a renewal says which.
        hear = self._announcements.hear
        background += [hear(CHANNEL_WORKER + self.id, self._renewals.once), self._orders.run(self._announcements)]
        background += [hear(CHANNEL_WAKE + lane, group.wake) for group in self.groups for lane in group.wakes]
        tasks = [asyncio.create_task(each) for each in background]
        claims = [asyncio.create_task(self._claiming.run(group)) for group in self.groups]
        drained = asyncio.create_task(self._drain_when_told())
        try:
            done, _ = await asyncio.wait([*tasks, *claims, drained], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            # What runs is stopped first and its way back to Redis last, or nothing of it would be handed back.
            self.hand_back()
            await cancel_all([drained, *claims, *self._tasks()])
            await self._outbox.flush(_LAST_WORDS)
            await cancel_all(tasks)
            await self._announcements.close()

    def handle_sig(self, signum: signal.Signals) -> None:
        """The first signal drains; a second hands everything back at once."""
        if self.draining:
            logger.warning("%s again: handing back %d running jobs", signum.name, len(self.running))
            self.hand_back()
        else:
            number = len(self.running)
            logger.warning("%s: draining; %d jobs run on, a second signal hands them back", signum.name, number)
            self.drain()

    def drain(self) -> None:
        """Claim nothing more, hand back what has not begun, let the rest end for `drain_timeout`."""
        self._tell_to_drain()
        self._hand_back_unbegun()

    def _tell_to_drain(self) -> None:
        self.draining = True
        self._claiming.stop()
        self._told_to_drain.set()

    def pause(self, who: str, why: str) -> None:
        """Claim nothing more for `who`'s reason, and hand back what has not begun; what runs goes on."""
        if self.gate.shut(who, why):
            logger.warning("paused: %s", why)
            self._hand_back_unbegun()

    def resume(self, who: str) -> None:
        """`who` has no reason against new jobs any more."""
        if self.gate.lift(who):
            logger.warning("goes on")
            self.look_again()

    def _hand_back_unbegun(self) -> None:
        for held in list(self.running.values()):
            if held.job is None or not held.job.begun:
                held.stop(Stop.DRAINED)

    def hand_back(self) -> None:
        """Stop every running job and put it back, without spending a try."""
        self._tell_to_drain()
        self._stop_all()

    async def hand_back_for_now(self, within: float) -> bool:
        """As `drain` does, with so many seconds for running jobs, but for now only: call `pause` before.

        Returns whether Redis has all of them.
        """
        # What a claim under way brings goes back at once, but not before it is here.
        await wait_for(self._claiming.quiet, within=_LAST_CLAIM)
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=within)
        self._stop_all()
        await cancel_all(self._tasks())
        return await self._outbox.flush(_LAST_WORDS)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [held.task for held in self.running.values() if held.task]

    def _stop_all(self) -> None:
        for held in list(self.running.values()):
            held.stop(Stop.DRAINED)

    async def _drain_when_told(self) -> None:
        await self._told_to_drain.wait()
        self.look_again()
        # A claim that is under way may still bring jobs.
        await wait_for(self._claiming.ended, within=_LAST_CLAIM)
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=self.settings.drain_timeout)
        self.hand_back()
        await cancel_all(self._tasks())
        if not await self._outbox.flush(_LAST_WORDS):
            logger.error("Redis did not take the last results; their jobs run again when their leases end")

    def look_again(self) -> None:
        """There may be something to claim."""
        for group in self.groups:
            group.capacity.hear()

    async def close(self) -> None:
        """Nothing of arq's to close: whoever made the connection closes it."""

    def _start(self, claim: Claim, group: LaneGroup) -> None:
        if before := self.running.get(claim.job_id):
            # This worker slept past its lease, or Redis forgot its claim, and it has claimed its own job again.
            if before.go_on_under(claim):
                return
            before.stop(Stop.LOST)
        held = self.running[claim.job_id] = Running(claim, group, Slot(group.capacity))
        if self.draining or not self.gate.open:  # it was told so while Redis answered
            # A task cancelled before its first step would never come to hand the job back.
            self._put_back(held, Snooze(0.0), "drain")
            held.slot.leave(ended=False)
        else:
            held.task = asyncio.create_task(self._run(held))

    async def _run(self, held: Running) -> None:
        """Run one claimed job to one of its ends, and post that end to Redis."""
        bind_contextvars(**held.claim.about)
        ended = True
        try:
            self._post(held, await self._outcome(held))
        except asyncio.CancelledError:
            ended = False
            self._post_stop(held)
        except PutBack as put_back:
            ended = False
            self._put_back(held, put_back.decision, type(put_back.decision).__name__.lower())
        except Exception as exc:  # a bug of ours must not cost the job its result
            logger.exception("job %s failed in the worker itself", held.claim.job_id)
            # Not the exception's text: it may quote the prompt. The log has it.
            message = f"the worker failed on it ({type(exc).__name__}); its log says more"
            self._post(
                held, endings.failed(held.claim, held.job, held.request, self.context, "internal_error", message)
            )
        finally:
            held.slot.leave(ended=ended)

    async def _outcome(self, held: Running) -> CompletionResult:
        claim = held.claim
        if claim.aborted:
            return self._cancelled(held)
        try:
            self._check_size(claim.payload)
            message = decode_job(claim.payload)
            held.request = message.request
            held.job = self._job(held, message)
        except UnknownContract as exc:
            self._tell_of_unread(claim, exc)
            raise PutBack(Snooze(_LEAVE_TO_OTHERS)) from exc
        except WireError as exc:
            kind = "invalid_payload" if claim.payload else "payload_lost"
            return endings.failed(claim, None, held.request, self.context, kind, str(exc))
        if claim.deliveries > self.settings.max_deliveries:
            return endings.worker_lost(held.job, message.request, self.settings.max_deliveries)
        function = self.functions.get(message.f)
        if function is None:
            unknown = f"no function {message.f!r}"
            return endings.failed(claim, held.job, message.request, self.context, "unknown_function", unknown)
        try:
            ctx = {**self.ctx, "job": held.job, "job_id": claim.job_id}
            result: CompletionResult = await function.coroutine(ctx, message.request)
        except asyncio.CancelledError:
            if held.stopped is not Stop.CANCELLED:
                raise
            return self._cancelled(held)
        return result

    def _check_size(self, payload: bytes) -> None:
        """Raise `WireError` for a job that no producer of ours would have taken, before it is decoded at length."""
        most = self.settings.max_row_bytes
        if len(payload) > most + ENVELOPE_BYTES:
            reason = f"the job has {len(payload):,} bytes; a row of {size(most)} is the most (setting max_row_bytes)"
            raise WireError(reason, payload[:ENVELOPE_BYTES])

    def _tell_of_unread(self, claim: Claim, why: UnknownContract) -> None:
        """Thousands of such jobs may come by every half minute: one line says so."""
        self._unread += 1
        now = time.monotonic()
        if now - self._told_of_unread >= _LEAVE_TO_OTHERS / 2:
            logger.warning("job %s is %s; left to others (%d so far)", claim.job_id, why, self._unread)
            self._told_of_unread = now

    def _job(self, held: Running, message: JobMessage) -> Job:
        claim, attempts = held.claim, held.claim.attempts()
        return Job(
            id=claim.job_id,
            lane=claim.lane,
            attempts=list(attempts),
            enqueued_at=message.et / 1000,
            started_at=self.context.clock.carried(),
            context=self.context,
            slot=held.slot,
            trace=message.trace,
            spilled=held.group.cloud,
            sharing=sharing(claim.deliveries, self.settings.max_deliveries, attempts),
        )

    def _post(self, held: Running, result: CompletionResult) -> None:
        claim, usage = held.claim, result.usage
        tokens = (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens)
        keep_ms = round(self.settings.keep * 1000)
        data = encode_result(result, claim.lane)
        end = [claim.job_id, claim.token, result.state.value, data, keep_ms, *tokens, claim.digest]
        self._send(held, Step(Script.FINISH, [claim.lane], end), result.state)
        self.throughput.note(claim.lane)
        if result.ok:
            self.jobs_complete += 1
        else:
            self.jobs_failed += 1
        # The kind of the error alone: its message may quote what the job was about.
        kind = f" ({result.error.type})" if result.error else ""
        level = logging.WARNING if result.state is JobState.FAILED else logging.INFO
        # Who asked for a line of each job wants those that failed too; else thousands of them are cut short.
        each = {"each": logger.isEnabledFor(logging.INFO)}
        logger.log(level, "job %s %s%s", claim.job_id, result.state.value, kind, extra=each)

    def _post_stop(self, held: Running) -> None:
        if held.stopped is Stop.DRAINED:
            if held.job and held.job.begun and held.job.attempts:
                held.job.explain("handed back by its worker; no try spent")
            self._put_back(held, Snooze(0.0), "drain")
            return
        if held.stopped is Stop.LOST:
            logger.warning("job %s: its lease was lost to another claim; stopped here", held.claim.job_id)
        self._forget(held)

    def _forget(self, held: Running) -> None:
        if self.running.get(held.claim.job_id) is held:
            del self.running[held.claim.job_id]

    def _put_back(self, held: Running, decision: Retry | Snooze | Requeue, why: str) -> None:
        claim = held.claim
        fate = {Retry: "reset", Snooze: "undo", Requeue: "keep"}[type(decision)]
        delay_ms = round(1000 * getattr(decision, "delay", 0.0))
        ledger = encode_attempts(tuple(held.job.attempts)) if held.job and held.job.attempts else b""
        held.releasing = True
        self._send(held, Step(Script.RELEASE, [claim.lane], [claim.job_id, claim.token, delay_ms, ledger, fate]))
        self.jobs_retried += 1
        self.context.record.returned(claim.lane, why)
        logger.info("job %s goes back to its lane for %.1f s", claim.job_id, delay_ms / 1000)

    def _cancelled(self, held: Running) -> CompletionResult:
        if held.job is None:
            with suppress(WireError):
                message = decode_job(held.claim.payload)
                held.request, held.job = message.request, self._job(held, message)
        return endings.cancelled(held.claim, held.job, held.request, self.context)

    def _send(self, held: Running, step: Step, state: JobState | None = None) -> None:
        """Post an end. The lease is renewed until Redis has taken it."""

        def taken(answer: bytes | None) -> None:
            if answer == b"cancelled":  # in place of going back
                held.releasing = False
                self._post(held, self._cancelled(held))
                return
            self._forget(held)
            if answer == b"ok" and state:
                self.context.record.finished(held.claim.lane, state)
            elif answer not in (b"ok", None):
                self.context.record.refused(answer.decode())
                about = held.claim.about
                logger.warning("job %s: its end was refused (%s)", about["job"], answer.decode(), extra=about)

        self._outbox.post(PendingStep(step, held.claim.job_id, taken))
