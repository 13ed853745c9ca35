"""Which lanes this worker claims from, with which capacity, and when."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from arq import ArqRedis

from windfall.broker.clock import RedisClock
from windfall.broker.connection import REDIS_ERRORS
from windfall.keys import FAIR, HELD_SUFFIX, lane_queue, of_lane
from windfall.queue.quarantine import number
from windfall.request import Route
from windfall_worker.backends.capacity import Capacity
from windfall_worker.backends.routing import ModelBackends
from windfall_worker.queue.spill import Spill
from windfall_worker.recorder import Recorder

logger = logging.getLogger("windfall.lanes")

#: Seconds between checks of the backlogs.
_LOOK: Final = 1.0


@dataclass(frozen=True, slots=True)
class LaneGroup:
    """Lanes that share one capacity. `lanes` are those to claim from now; `wakes` are all of them, open or not."""

    model: str
    capacity: Capacity
    wakes: tuple[str, ...]
    lanes: Callable[[], tuple[str, ...]]
    cloud: bool = False

    async def wake(self) -> None:
        """Note that there may be something to claim."""
        self.capacity.hear()


async def watch_backlogs(redis: ArqRedis, clock: RedisClock, groups: Sequence[LaneGroup], record: Recorder) -> None:
    """Tell each capacity of this worker, until cancelled, how many jobs could be claimed now."""
    client: Any = redis
    lanes = list(dict.fromkeys(lane for group in groups for lane in group.wakes))
    while True:
        try:
            now = await clock.now_ms()
            async with client.pipeline(transaction=False) as pipe:
                for lane in lanes:
                    pipe.zcard(lane)
                    # Held jobs include those that were put back: once due, they are waiting too.
                    pipe.zcount(lane + HELD_SUFFIX, f"({now}", "+inf")
                    pipe.hget(of_lane(FAIR, lane), "waiting")
                counts = iter(await pipe.execute())
        except REDIS_ERRORS as exc:
            record.redis_failed("look")
            logger.warning("cannot read the lanes' backlogs: %s", exc)
        else:
            waiting = {lane: next(counts) - next(counts) + max(0, number(next(counts))) for lane in lanes}
            for lane, jobs in waiting.items():
                record.waits(lane, jobs)
            for group in groups:
                group.capacity.observe_backlog(sum(waiting[lane] for lane in group.wakes))
        await asyncio.sleep(_LOOK)


def make_lane_groups(backends: Mapping[str, ModelBackends], spill: Spill) -> tuple[LaneGroup, ...]:
    """One lane group for each model's engine and one for its cloud mappings."""
    groups = []
    for model, served_by in backends.items():
        if served_by.local:
            groups.append(_local_group(model, served_by))
        if served_by.cloud:
            groups.append(_cloud_group(model, served_by, spill))
    return tuple(groups)


def _local_group(model: str, backends: ModelBackends) -> LaneGroup:
    lanes = tuple(lane_queue(model, route) for route in (Route.LOCAL, Route.AUTO))
    guarded = backends.all()[0]
    return LaneGroup(model, guarded.capacity, lanes, lambda: lanes if guarded.backend.available else ())


def _cloud_group(model: str, backends: ModelBackends, spill: Spill) -> LaneGroup:
    cloud, auto = lane_queue(model, Route.CLOUD), lane_queue(model, Route.AUTO)

    def lanes() -> tuple[str, ...]:
        if not any(guarded.backend.available for guarded in backends.cloud):
            return ()
        return (cloud, auto) if model in spill.open else (cloud,)

    return LaneGroup(model, backends.cloud[0].capacity, (cloud, auto), lanes, cloud=True)
