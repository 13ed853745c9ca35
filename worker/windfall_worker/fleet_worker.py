"""The arq worker of the fleet: how it is wired together, and how it drains.

arq provides the function registry, the job context, `Retry`, the start-up and shut-down hooks and the signal handlers.
Its poll loop and the way it runs a job are replaced; docs/decisions/0001-arq-with-own-poll-loop.md says why, and
`tests/unit/worker/test_arq_contract.py` fails when arq changes anything that this module relies on.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final

from arq import ArqRedis, Worker
from arq.worker import Function

from windfall.broker.announcements import Announcements
from windfall.keys import CHANNEL_WAKE, CHANNEL_WORKER
from windfall.result import CompletionResult
from windfall.runtime.tasks import cancel_all, wait_for
from windfall_worker.control import Gate
from windfall_worker.jobs.complete import complete
from windfall_worker.jobs.context import WorkerContext
from windfall_worker.queue.claiming import Claiming
from windfall_worker.queue.claims import ClaimClient
from windfall_worker.queue.lanes import LaneGroup
from windfall_worker.queue.orders import Orders
from windfall_worker.queue.outbox import Outbox
from windfall_worker.queue.renewals import Renewals
from windfall_worker.queue.running import RunningJobs
from windfall_worker.settings import WorkerSettings

logger = logging.getLogger("windfall.worker")

#: Seconds that a worker which is stopping waits for a claim in flight.
_LAST_CLAIM: Final = 3.0
#: Seconds that the last results have to reach Redis before the worker gives up.
_LAST_RESULTS: Final = 10.0


class FleetWorker(Worker):
    """Runs `complete` for the jobs of its lane groups until it is told to stop."""

    def __init__(
        self,
        redis: ArqRedis,
        groups: tuple[LaneGroup, ...],
        settings: WorkerSettings,
        context: WorkerContext,
        client: ClaimClient,
        outbox: Outbox,
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
            ctx={"redis": redis},
            log_results=False,
        )
        self.id = context.worker
        self.gate = Gate()
        self.jobs = RunningJobs(self.functions, self.ctx, context, outbox, self.gate, keep=settings.keep)
        self._groups = groups
        self._settings = settings
        self._context = context
        self._outbox = outbox
        self._announcements = Announcements(redis)
        self._orders = Orders(redis, self, socket.gethostname())
        self._renewals = Renewals(client, self.jobs, settings.renewal, context.record)
        self._claiming = Claiming(client, self._renewals, self.gate, context, self.jobs.start, renewal=settings.renewal)
        self._drain = asyncio.Event()

    @property
    def ready(self) -> asyncio.Event:
        """Set once the worker is looking for jobs."""
        return self._claiming.ready

    @property
    def busy(self) -> bool:
        """Whether a job is running here. Jobs that have ended and are waiting for Redis do not count."""
        return self.jobs.busy

    @property
    def ends_waiting(self) -> int:
        """How many results and returned jobs Redis has yet to accept."""
        return len(self._outbox)

    @property
    def counts(self) -> tuple[int, int]:
        """How many jobs have been completed, and how many ended in any other way."""
        return self.jobs.completed, self.jobs.failed

    async def main(self) -> None:
        """Work until drained. Raises the exception that ended it, which is always a bug."""
        await self._context.clock.now()
        await self._orders.begin()
        background: list[Coroutine[Any, Any, None]] = [self._outbox.run(), self._renewals.run()]
        # A message on the worker's own channel means that jobs are to be cancelled; a renewal says which.
        hear = self._announcements.hear
        background += [hear(CHANNEL_WORKER + self.id, self._renewals.once), self._orders.run(self._announcements)]
        background += [hear(CHANNEL_WAKE + lane, group.wake) for group in self._groups for lane in group.wakes]
        tasks = [asyncio.create_task(each) for each in background]
        claims = [asyncio.create_task(self._claiming.run(group)) for group in self._groups]
        drained = asyncio.create_task(self._until_drained())
        try:
            done, _ = await asyncio.wait([*tasks, *claims, drained], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            # Jobs are stopped first and the outbox last: otherwise nothing would be handed back.
            self.gate.drain()
            self.jobs.stop()
            await cancel_all([drained, *claims])
            await self.jobs.hand_back(within=0)
            await self._outbox.flush(_LAST_RESULTS)
            await cancel_all(tasks)
            await self._announcements.close()

    def handle_sig(self, signum: signal.Signals) -> None:
        """The first signal drains; a second hands everything back at once."""
        running = len(self.jobs)
        if self.gate.draining:
            logger.warning("%s again: handing back %d running jobs", signum.name, running)
            self.jobs.stop()
        else:
            logger.warning("%s: draining; %d jobs keep running; signal again to hand them back", signum.name, running)
            self.drain()

    def drain(self) -> None:
        """Stop claiming, hand back what has not begun, and give the rest `drain_timeout` to end."""
        self.gate.drain()
        self.jobs.stop(begun=False)
        self._drain.set()

    def pause(self, who: str, why: str) -> None:
        """Stop claiming for `who`'s reason, and hand back what has not begun; running jobs continue."""
        if self.gate.shut(who, why):
            logger.warning("paused: %s", why)
            self.jobs.stop(begun=False)

    def resume(self, who: str) -> None:
        """Withdraw `who`'s reason against new jobs."""
        if self.gate.lift(who):
            logger.warning("resumed")
            self.look_again()

    async def hand_back(self, within: float) -> bool:
        """Give running jobs `within` seconds to end, and put the rest back into their lanes. Call `pause` first.

        Returns whether Redis has accepted all of them.
        """
        # Jobs that a claim in flight brings go back at once, but only after they have arrived.
        await wait_for(self._claiming.quiet, within=_LAST_CLAIM)
        await self.jobs.hand_back(within)
        return await self._outbox.flush(_LAST_RESULTS)

    async def _until_drained(self) -> None:
        await self._drain.wait()
        if not await self.hand_back(self._settings.drain_timeout):
            logger.error("Redis did not accept the last results; their jobs run again when their leases expire")

    def look_again(self) -> None:
        """Wake the claim loops: there may be something to claim."""
        for group in self._groups:
            group.capacity.hear()

    async def close(self) -> None:
        """Override arq's: whoever opened the connection closes it."""
