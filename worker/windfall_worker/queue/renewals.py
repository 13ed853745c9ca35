"""Renews the leases of all running jobs in one call every few seconds, and stops the jobs that the answer names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from windfall.broker.connection import REDIS_ERRORS
from windfall.runtime.boottime import boottime
from windfall_worker.jobs.job import RunningJob, Stop
from windfall_worker.queue.claims import ClaimClient
from windfall_worker.recorder import Recorder

logger = logging.getLogger("windfall.renewals")

#: Seconds between attempts while Redis is away.
_PAUSE: Final = 0.25


class Renewals:
    """Renews the leases of the jobs in `running`, every `period` seconds."""

    def __init__(self, client: ClaimClient, running: Mapping[str, RunningJob], period: float, record: Recorder) -> None:
        self._client = client
        self._running = running
        self._period = period
        self._record = record
        self._renewed_at = boottime()

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            await asyncio.sleep(self._period)
            if await self.once():
                continue
            while not await self.once():  # noqa: ASYNC110 - Redis does not announce that it is back
                await asyncio.sleep(min(_PAUSE, self._period))
            logger.warning("Redis is back; the leases of %d running jobs are renewed", len(self._running))

    async def if_late(self) -> None:
        """Renew before claiming if the last renewal is long ago: otherwise the worker could claim its own jobs.

        It is late after an outage, or when this process was suspended or the machine slept.
        Raises what Redis raises.
        """
        if boottime() - self._renewed_at > 2 * self._period:
            await self._renew()

    async def once(self) -> bool:
        """Renew now. Returns whether it worked."""
        try:
            await self._renew()
        except REDIS_ERRORS as exc:
            self._record.redis_failed("renew")
            logger.warning("cannot renew leases (%s: %s)", type(exc).__name__, exc)
            return False
        return True

    async def _renew(self) -> None:
        running = list(self._running.values())
        asked = {job.id: (job, job.claim) for job in running}
        renewed = await self._client.renew(
            [job.claim for job in running if not job.releasing],
            [job.claim for job in running if job.releasing],
        )
        self._renewed_at = boottime()
        # A job that was put back while Redis answered has lost nothing.
        if lost := sum(not asked[name][0].releasing for name in renewed.lost):
            self._record.leases_lost(lost, "held")
        if renewed.gone:
            self._record.leases_lost(len(renewed.gone), "gone")
            logger.error(
                "stopping %d running jobs that Redis does not know (%s, …): they were deleted, or Redis came back "
                "empty or with older data",
                len(renewed.gone),
                renewed.gone[0],
            )
        stops = ((renewed.lost, Stop.LOST), (renewed.aborted, Stop.CANCELLED), (renewed.gone, Stop.GONE))
        for names, why in stops:
            for name in names:
                job, claim = asked[name]
                if job.claim is claim:  # not claimed again while Redis answered
                    job.stop(why)
