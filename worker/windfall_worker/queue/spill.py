"""When the cloud may take jobs of the route `auto`: what a person has asked for, and nothing beyond it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from arq import ArqRedis

from windfall.broker.clock import RedisClock
from windfall.broker.connection import REDIS_ERRORS
from windfall.keys import PAYLOAD, SERVES, lane_queue
from windfall.queue.fleet import read_fleet
from windfall.queue.flows import first_rows
from windfall.queue.workers import HEARTBEAT_TTL
from windfall.request import Route
from windfall.wire import HEAD_BYTES, enqueued_at
from windfall_worker.settings import SpillWhen

logger = logging.getLogger("windfall.spill")

#: Seconds between two looks.
_LOOK: Final = 1.0
#: Seconds between two looks beyond which something went wrong here.
_GAP: Final = 3 * _LOOK
#: Seconds for which a silent Mac still counts as live, and between two looks at Macs that do not write `SERVES`.
_LIVE: Final = HEARTBEAT_TTL / 1000


@dataclass(frozen=True, slots=True)
class SpillRule:
    """`after`: seconds without a Mac or, where a backlog spills too, seconds that its next job has waited."""

    when: SpillWhen
    after: float


class Spill:
    """Decides which `auto` lanes the cloud may claim from now.

    These are the lanes of models that no live Mac has served for `after` seconds or that no Mac has ever served and, if
    a person asked for that, those whose next job has waited for longer than `after` seconds. A Mac that is paused
    serves its models; one that drains, or whose engine is down, does not.

    Every Mac writes one small key for each model with its heartbeat, and a look reads that key, however many Macs there
    are. What counts is whether its value changes: no two clocks are compared, and a worker that has just started waits
    as long as any other.
    """

    def __init__(
        self,
        redis: ArqRedis,
        clock: RedisClock,
        models: Mapping[str, str],
        rule: SpillRule,
        *,
        loop_time: Callable[[], float] | None = None,
    ) -> None:
        """`models`: the names of the cloud mappings, in words, by model."""
        self._redis: Any = redis
        self._clock = clock
        self._models = models
        self._rule = rule
        self._time = loop_time or (lambda: asyncio.get_running_loop().time())
        self._seen: dict[str, tuple[bytes, float]] = {}  # the value, and when this process first read it
        self._older_until = dict.fromkeys(models, float("-inf"))
        self._looked_at = float("-inf")
        self.open: frozenset[str] = frozenset()

    async def run(self, on_change: Callable[[], None]) -> None:
        """Look until cancelled; `on_change` is called when more lanes are open than before."""
        while True:
            try:
                if await self.look():
                    on_change()
            except REDIS_ERRORS as exc:
                logger.warning("cannot see which Macs are live: %s", exc)
            await asyncio.sleep(_LOOK)

    async def look(self) -> bool:
        """Look once; returns whether more lanes are open than before. Raises what Redis raises."""
        values = await self._redis.mget([SERVES + model for model in self._models])
        self._forgive_gap()
        alone = [model for model, value in zip(self._models, values, strict=True) if self._unserved(model, value)]
        now_open = {model for model in alone if model in self.open or await self._confirmed(model)}
        if self._rule.when is SpillWhen.BACKLOG:
            now_open |= {model for model in self._models if model not in now_open and await self._waits(model)}
        more = now_open - self.open
        for model in sorted(more & set(alone)):
            if model in self._seen:
                after = f"no Mac has served {model} for {self._silence:g} s"
                logger.warning("%s: jobs of route auto go to %s", after, self._models[model])
        self.open = frozenset(now_open)
        return bool(more)

    def _forgive_gap(self) -> None:
        """While Redis could not be reached or this process stood still, no Mac could be heard: nothing is counted."""
        now = self._time()
        if now - self._looked_at > _GAP:
            self._seen = {model: (value, now) for model, (value, _) in self._seen.items()}
        self._looked_at = now

    @property
    def _silence(self) -> float:
        return max(self._rule.after, _LIVE)

    def _unserved(self, model: str, value: bytes | None) -> bool:
        """Whether no Mac serves the model, by its key alone."""
        now = self._time()
        if value is None:
            return model not in self._seen or now - self._seen[model][1] >= self._silence
        if model not in self._seen or self._seen[model][0] != value:
            self._seen[model] = (value, now)
        return now - self._seen[model][1] >= self._silence

    async def _confirmed(self, model: str) -> bool:
        """Whether that is so by the heartbeats, too: workers of older versions write nothing else.

        Only a lane that is about to open costs this, and again every `_LIVE` seconds while there is such a worker.
        """
        if self._time() < self._older_until[model]:
            return False
        workers = (await read_fleet(self._redis)).workers
        older = [
            worker.id
            for worker in workers
            if worker.spill is None and any(served.local and served.name == model for served in worker.models)
        ]
        if older:
            self._older_until[model] = self._time() + _LIVE
        return not older

    async def _waits(self, model: str) -> bool:
        """Whether the next job of the lane has waited for too long: of its flows, or of the jobs in none."""
        now = await self._clock.now()
        lane = lane_queue(model, Route.AUTO)
        alone = await self._redis.zrangebyscore(lane, "-inf", round(now * 1000), start=0, num=1)
        rows = await first_rows(self._redis, [lane])
        names = [*alone, *(name.encode() for name in rows.values())]
        heads = [await self._redis.getrange(PAYLOAD.encode() + name, 0, HEAD_BYTES - 1) for name in names]
        since = [at for head in heads if (at := enqueued_at(head)) is not None]
        return bool(since) and now - min(since) > self._rule.after
