"""The fleet: the live workers of one Redis, what they serve, and what waits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from arq import ArqRedis
from pydantic import Field

from windfall import keys
from windfall.queue.flows import first_rows
from windfall.queue.quarantine import MOST, answers, number, readable
from windfall.queue.workers import LostWorker, WorkerStatus, read_workers
from windfall.request import Route
from windfall.shapes import Record
from windfall.wire import HEAD_BYTES, enqueued_at


class LaneStatus(Record):
    """A lane and its backlog."""

    model: str
    route: Route
    queued: int  #: waiting jobs, including those put back for later
    running: int
    parked: int = 0  #: jobs waiting for their batch to be resumed
    paused: bool = False
    waiting_since: float | None = None  #: when the next job was enqueued (Unix seconds); None if none is waiting
    rate: float | None = None  #: recent jobs per second; None if no live worker reports it

    @property
    def eta(self) -> float | None:
        """Seconds until it is empty at this rate, or None if that is unknown."""
        return (self.queued + self.running) / self.rate if self.rate and not self.paused else None


class FleetStatus(Record):
    """The fleet at one instant."""

    workers: tuple[WorkerStatus, ...] = ()
    lost: tuple[LostWorker, ...] = ()  #: those that were live within the last hour, the newest first
    lanes: tuple[LaneStatus, ...] = ()
    now: float = Field(description="Unix seconds on Redis' clock")

    def late(self, worker: WorkerStatus) -> float | None:
        """Seconds since this worker's last heartbeat if there should have been another one, else None."""
        since = self.now - worker.seen_at
        return since if since > _LATE else None

    def serves(self, model: str) -> bool:
        """Whether a live worker serves this model."""
        return any(served.name == model for worker in self.workers for served in worker.models)

    def unserved(self) -> list[str]:
        """The models that queued jobs need and no live worker serves."""
        waiting = dict.fromkeys(lane.model for lane in self.lanes if lane.queued)
        return [model for model in waiting if not self.serves(model)]

    def paid(self) -> dict[str, tuple[str, ...]]:
        """The cloud mappings of live workers that somebody bills, as provider:model, by the model that they serve."""
        found: dict[str, dict[str, None]] = {}
        for worker in self.workers:
            for served in worker.models:
                found.setdefault(served.name, {}).update(dict.fromkeys(served.paid))
        return {model: tuple(mappings) for model, mappings in found.items() if mappings}

    def waits(self) -> dict[str, list[str]]:
        """Why cloud backends take no jobs: each reason, and the workers that give it."""
        found: dict[str, list[str]] = {}
        for worker in self.workers:
            for reason in dict.fromkeys(served.waits for served in worker.models if served.waits):
                found.setdefault(reason, []).append(worker.id)
        return found

    def serves_locally(self, model: str) -> bool:
        """Whether a live worker runs this model on its own machine, or would once it is resumed."""
        staying = [worker for worker in self.workers if worker.state != "draining"]
        return any(served.name == model and served.local_up for worker in staying for served in worker.models)


#: Seconds after which a heartbeat is late: the second one is missing.
_LATE: Final = 5.0

#: Held jobs read per lane: more than any fleet runs.
_HELD_MOST: Final = 100_000


async def read_fleet(redis: ArqRedis) -> FleetStatus:
    """The live workers and the lanes."""
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.zrange(keys.WORKERS, -MOST, -1, withscores=True)
        # Bounded: someone may have filled the set with millions of members.
        pipe.srandmember(keys.LANES, MOST)
        pipe.srandmember(keys.PAUSED, MOST)
        (seconds, micros), beats, queues, paused = await answers(redis, pipe, keys.SHARED)
    now = seconds + micros / 1e6
    names = set(await readable(redis, keys.PAUSED, paused))
    seen = {raw: at / 1000 for raw, at in beats or ()}
    live = await readable(redis, keys.WORKERS, seen)
    workers, lost = await read_workers(redis, {name: seen[name.encode()] for name in live}, names, now)
    known = set(await readable(redis, keys.LANES, queues))
    lanes = await _lanes(redis, known, names, round(now * 1000))
    told = [lane.model_copy(update={"rate": _rate(lane, workers)}) for lane in lanes]
    return FleetStatus(workers=workers, lost=lost, lanes=tuple(told), now=now)


async def _lanes(redis: ArqRedis, queues: set[str], paused: set[str], now_ms: int) -> list[LaneStatus]:
    client: Any = redis
    parts = {name: keys.lane_parts(name) for name in sorted(queues | paused)}
    known = {name: found for name, found in parts.items() if found is not None}
    async with client.pipeline(transaction=False) as pipe:
        for name in known:
            pipe.zcard(name)
            # Held are the running jobs, those put back for later and, with higher scores, the parked ones.
            pipe.zrangebyscore(name + keys.HELD_SUFFIX, "-inf", f"({keys.PARKED}", start=0, num=_HELD_MOST)
            pipe.zcount(name + keys.HELD_SUFFIX, keys.PARKED, "+inf")
            pipe.zrangebyscore(name, "-inf", now_ms, start=0, num=1)
            pipe.hmget(keys.of_lane(keys.FAIR, name), "waiting", "parked")  # the rows in the lane's flows
        found = await answers(redis, pipe)
    looks = list(zip(*(found[i::5] for i in range(5)), strict=True))
    heads_of_flows = await first_rows(
        redis, [name for name, look in zip(known, looks, strict=True) if _rows(look[4])[0]]
    )
    async with client.pipeline(transaction=False) as pipe:
        for name, (_, held, _, head, _) in zip(known, looks, strict=True):
            # EXISTS needs at least one name; no job has this one.
            pipe.exists(keys.HOLDER, *(keys.HOLDER.encode() + each for each in held or ()))
            first = head[0] if head else heads_of_flows.get(name, "").encode()
            pipe.getrange(keys.PAYLOAD.encode() + first, 0, HEAD_BYTES - 1)
        heads = await answers(redis, pipe)
    return [
        LaneStatus(
            model=model,
            route=route,
            queued=max(0, (total or 0) - running - (parked or 0)) + _rows(rows)[0],
            running=running,
            parked=(parked or 0) + _rows(rows)[1],
            paused=name in paused,
            waiting_since=enqueued_at(payload or b""),
        )
        for (name, (model, route)), (total, _, parked, _, rows), running, payload in zip(
            known.items(), looks, heads[::2], heads[1::2], strict=True
        )
    ]


def _rows(counts: list[bytes | None] | None) -> tuple[int, int]:
    """How many rows in a lane's flows wait, and how many of them are parked."""
    waiting, parked = (max(0, number(count)) for count in counts or (None, None))
    return waiting, parked


def _rate(lane: LaneStatus, workers: Iterable[WorkerStatus]) -> float | None:
    told = [served for worker in workers for served in worker.models if served.name == lane.model]
    return sum(served.rates.get(lane.route, 0.0) for served in told) if told else None
