"""The claim loops of a worker: one claim at a time for each lane group, while it has free slots."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from windfall.broker.connection import REDIS_ERRORS
from windfall.runtime.tasks import wait_for
from windfall_worker.control import Gate
from windfall_worker.jobs.claim import Claim
from windfall_worker.jobs.context import WorkerContext
from windfall_worker.queue.claims import ClaimClient, Claimed
from windfall_worker.queue.lanes import LaneGroup
from windfall_worker.queue.renewals import Renewals

logger = logging.getLogger("windfall.worker")

#: Seconds between claims when nothing wakes an idle worker (announcements can be lost).
_IDLE_POLL: Final = 1.0
#: Seconds between failing claims, at first and at most.
_PAUSE_FIRST: Final = 0.1
_PAUSE_MOST: Final = 2.0


class Claiming:
    """Claims for all lane groups while the gate is open.

    `start` is called with each claimed job. Except during outages, Redis hears from the worker at least once per
    `renewal` period (seconds).
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
        self._in_flight = 0
        self.ready = asyncio.Event()  #: set once a first claim was answered
        self.quiet = asyncio.Event()  #: set while no claim is in flight
        self.quiet.set()

    async def run(self, group: LaneGroup) -> None:
        """Claim for one lane group until cancelled."""
        pause = _PAUSE_FIRST
        while True:
            group.capacity.wake.clear()
            lanes = group.lanes() if self._gate.open else ()
            want = group.capacity.free if lanes else 0
            wait, reserved = self._poll, False
            if want:
                try:
                    claimed = await self._claim(group, lanes, want)
                except REDIS_ERRORS as exc:
                    self._context.record.redis_failed("claim")
                    logger.warning("cannot claim jobs (%s: %s); running ones continue", type(exc).__name__, exc)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _PAUSE_MOST)
                    continue
                pause = _PAUSE_FIRST
                reserved = claimed.reserved and len(claimed.claims) < want
                found_all = len(claimed.claims) >= want or claimed.cut or reserved
                group.capacity.observe_claim(found_all=found_all)
                if claimed.next_due is not None:
                    wait = min(wait, max(0.001, claimed.next_due - claimed.now))
            self.ready.set()
            if not want or reserved or group.capacity.lanes_empty:
                await wait_for(group.capacity.wake, within=wait)

    async def _claim(self, group: LaneGroup, lanes: tuple[str, ...], want: int) -> Claimed:
        """Claim in one round trip, and start what was claimed. Raises what Redis raises."""
        self._in_flight += 1
        self.quiet.clear()
        try:
            await self._renewals.if_late()
            began = time.monotonic()
            claimed = await self._client.claim(lanes, want, others=group.capacity.free_for_others)
            took = time.monotonic() - began
            group.capacity.observe_round_trip(took)
            self._context.record.claimed(took)
            self._context.clock.set(claimed.now)
            for claim in claimed.claims:
                self._start(claim, group)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self.quiet.set()
        return claimed
