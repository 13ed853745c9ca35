"""The claim loops of a worker: one claim at a time for each group, when there may be something and a place for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from windfall.broker.connection import OUTAGE
from windfall.tasks import wait_for
from windfall_worker.control import Gate
from windfall_worker.jobs.claim import Claim
from windfall_worker.jobs.context import WorkerContext
from windfall_worker.queue.claims import ClaimClient, Claimed
from windfall_worker.queue.lanes import LaneGroup
from windfall_worker.queue.renewals import Renewals

logger = logging.getLogger("windfall.worker")

#: Seconds between claims when nothing wakes an idle worker (an announcement may be lost).
_IDLE_POLL = 1.0
#: Seconds between claims that fail.
_PAUSE_FIRST, _PAUSE_MOST = 0.1, 2.0


class Claiming:
    """Claims for all groups while the gate is open.

    `start` gets each job that was claimed. Outside of outages Redis hears of a worker once in a `renewal` period
    (seconds) at the least.
    """

    def __init__(
        self,
        client: ClaimClient,
        renewals: Renewals,
        gate: Gate,
        context: WorkerContext,
        start: Callable[[Claim, LaneGroup], None],
        *,
        renewal: float,
    ) -> None:
        self._client = client
        self._renewals = renewals
        self._gate = gate
        self._context = context
        self._start = start
        self._poll = min(_IDLE_POLL, renewal)
        self._under_way = 0
        self.ready = asyncio.Event()  #: a first claim was answered
        self.quiet = asyncio.Event()  #: no claim is under way now
        self.quiet.set()

    async def run(self, group: LaneGroup) -> None:
        """Claim for one group, for ever."""
        pause = _PAUSE_FIRST
        while True:
            group.capacity.wake.clear()
            lanes = group.lanes() if self._gate.open else ()
            want = group.capacity.free if lanes else 0
            wait = self._poll
            if want:
                try:
                    claimed = await self._claim(group, lanes, want)
                except (RedisError, *OUTAGE) as exc:
                    self._context.record.redis_failed("claim")
                    logger.warning("Redis gives no jobs (%s: %s); running ones go on", type(exc).__name__, exc)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _PAUSE_MOST)
                    continue
                pause = _PAUSE_FIRST
                group.capacity.lanes_empty = len(claimed.claims) < want and not claimed.cut
                if claimed.next_due is not None:
                    wait = min(wait, max(0.001, claimed.next_due - claimed.now))
            self.ready.set()
            if not want or group.capacity.lanes_empty:
                await wait_for(group.capacity.wake, within=wait)

    async def _claim(self, group: LaneGroup, lanes: tuple[str, ...], want: int) -> Claimed:
        """One round trip, whose jobs are started. Raises what Redis raises."""
        self._under_way += 1
        self.quiet.clear()
        try:
            await self._renewals.if_late()
            began = time.monotonic()
            claimed = await self._client.claim(lanes, want)
            took = time.monotonic() - began
            group.capacity.observe_round_trip(took)
            self._context.record.claimed(took)
            self._context.clock.set(claimed.now)
            for claim in claimed.claims:
                self._start(claim, group)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self.quiet.set()
        return claimed
