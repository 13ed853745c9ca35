"""The fleet: the live workers of one Redis, what they serve, and what waits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from arq import ArqRedis
from pydantic import Field, ValidationError

from windfall import keys
from windfall.request import Record, Route
from windfall.wire import HEAD_BYTES, enqueued_at

#: What makes a worker's id of its name: its process id, and a random part.
_NUMBERS = re.compile(r"-\d+-[0-9a-f]{6}$")


def worker_name(worker_id: str) -> str:
    """The name of the worker that has this id."""
    return _NUMBERS.sub("", worker_id)


def worker_names(worker_id: str, host: str) -> tuple[str, ...]:
    """All that a worker may be called: by its id it alone, by its name or its host also the next one there."""
    return tuple(dict.fromkeys((worker_id, worker_name(worker_id), host, host.removesuffix(".local"))))


class ServedModel(Record):
    """A model that a worker serves."""

    name: str
    backends: tuple[str, ...]
    local: bool = True  #: whether the worker's own machine completes it
    slots: int
    running: int = 0
    tokens_per_second: float | None = None
    rates: dict[Route, float] = Field(default_factory=dict)  #: jobs that ended a second of late, by their lane's route


class WorkerStatus(Record):
    """A worker's heartbeat."""

    id: str
    name: str | None = None  #: what people call it; older workers leave it out
    host: str
    pid: int = Field(gt=0, lt=2**31)  #: also what namesakes are looked for by
    state: str  #: running, paused or draining
    why: str | None = None  #: why it is paused
    started_at: float  #: Unix seconds on Redis' clock
    seen_at: float
    version: str
    models: tuple[ServedModel, ...] = ()
    completed: int = 0
    failed: int = 0
    chip: str | None = None  #: what computes there
    memory_bytes: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All that it may be called."""
        return worker_names(self.id, self.host)


class LaneStatus(Record):
    """A lane and its backlog."""

    model: str
    route: Route
    queued: int  #: jobs that wait, those put back for later among them
    running: int
    parked: int = 0  #: jobs that wait for their batch to be resumed
    paused: bool = False
    waiting_since: float | None = None  #: when the job that is next was enqueued (Unix seconds); None where none waits
    rate: float | None = None  #: jobs that ended a second of late; None where no live worker tells

    @property
    def eta(self) -> float | None:
        """Seconds until it is empty if the rate holds, or None where nothing can be said."""
        return (self.queued + self.running) / self.rate if self.rate and not self.paused else None


class FleetStatus(Record):
    """The fleet at one instant."""

    workers: tuple[WorkerStatus, ...] = ()
    lanes: tuple[LaneStatus, ...] = ()
    now: float = Field(description="Unix seconds on Redis' clock")

    def serves(self, model: str) -> bool:
        """Whether a live worker serves this model."""
        return any(served.name == model for worker in self.workers for served in worker.models)

    def unserved(self) -> list[str]:
        """The models that queued jobs wait for, and no live worker serves."""
        waiting = dict.fromkeys(lane.model for lane in self.lanes if lane.queued)
        return [model for model in waiting if not self.serves(model)]

    def serves_locally(self, model: str) -> bool:
        """Whether a live worker completes this model on its own machine."""
        return any(served.name == model and served.local for worker in self.workers for served in worker.models)


#: Milliseconds after which a silent worker's heartbeat is gone.
HEARTBEAT_TTL = 15_000

#: Seconds after which a worker that was told something by its id, and is silent since, will not come back.
_LONGEST_SLEEP = 2 * 24 * 3600


async def write_heartbeat(redis: ArqRedis, status: WorkerStatus) -> None:
    """Say that a worker lives."""
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.set(keys.WORKER + status.id, status.model_dump_json(), px=HEARTBEAT_TTL)
        pipe.zadd(keys.WORKERS, {status.id: round(status.seen_at * 1000)})
        await pipe.execute()


async def remove_heartbeat(redis: ArqRedis, worker_id: str) -> None:
    """Say that a worker has ended. What it was told to do as this one process is of no interest any more."""
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.delete(keys.WORKER + worker_id, keys.DRAIN + worker_id)
        pipe.zrem(keys.WORKERS, worker_id)
        pipe.srem(keys.PAUSED, keys.WORKER + worker_id)
        await pipe.execute()


async def read_fleet(redis: ArqRedis) -> FleetStatus:
    """The live workers and the lanes."""
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.zrange(keys.WORKERS, 0, -1, withscores=True)
        pipe.smembers(keys.LANES)
        pipe.smembers(keys.PAUSED)
        (seconds, micros), beats, queues, paused = await pipe.execute()
    now = seconds + micros / 1e6
    names = {name.decode() for name in paused}
    workers = await _workers(client, {name.decode(): seen / 1000 for name, seen in beats}, names, now)
    lanes = await _lanes(client, {queue.decode() for queue in queues}, names, round(now * 1000))
    told = [lane.model_copy(update={"rate": _rate(lane, workers)}) for lane in lanes]
    return FleetStatus(workers=workers, lanes=tuple(told), now=now)


async def _workers(client: Any, seen: dict[str, float], paused: set[str], now: float) -> tuple[WorkerStatus, ...]:
    """`seen`: the ids, and when each was last heard of. One that was paused by its id may be asleep for a while."""
    beats = await client.mget([keys.WORKER + name for name in seen]) if seen else []
    gone = [
        name
        for (name, at), beat in zip(seen.items(), beats, strict=True)
        if beat is None and (keys.WORKER + name not in paused or now - at > _LONGEST_SLEEP)
    ]
    if gone:
        await client.zrem(keys.WORKERS, *gone)
        await client.srem(keys.PAUSED, *(keys.WORKER + name for name in gone))
    known = [status for status in map(_read_heartbeat, beats) if status is not None]
    return tuple(sorted(known, key=lambda status: status.id))  # on a page each keeps its place


def _read_heartbeat(beat: bytes | None) -> WorkerStatus | None:
    """None for a worker that has ended, or that speaks of itself in a way that this version does not know."""
    try:
        return WorkerStatus.model_validate_json(beat) if beat else None
    except ValidationError:
        return None


async def _lanes(client: Any, queues: set[str], paused: set[str], now_ms: int) -> list[LaneStatus]:
    parts = {name: keys.lane_parts(name) for name in sorted(queues | paused)}
    known = {name: found for name, found in parts.items() if found is not None}
    async with client.pipeline(transaction=False) as pipe:
        for name in known:
            pipe.zcard(name)
            # Held are the running jobs, those that were put back for later, and beyond them the parked ones.
            pipe.zrangebyscore(name + keys.HELD_SUFFIX, "-inf", f"({keys.PARKED}")
            pipe.zcount(name + keys.HELD_SUFFIX, keys.PARKED, "+inf")
            pipe.zrangebyscore(name, "-inf", now_ms, start=0, num=1)
        found = await pipe.execute()
    looks = list(zip(found[::4], found[1::4], found[2::4], found[3::4], strict=True))
    async with client.pipeline(transaction=False) as pipe:
        for _, held, _, head in looks:
            # EXISTS takes one name at least; this one is of no job.
            pipe.exists(keys.HOLDER, *(keys.HOLDER + name.decode() for name in held))
            pipe.getrange(keys.PAYLOAD + (head[0].decode() if head else ""), 0, HEAD_BYTES - 1)
        answers = await pipe.execute()
    return [
        LaneStatus(
            model=model,
            route=route,
            queued=total - running - parked,
            running=running,
            parked=parked,
            paused=name in paused,
            waiting_since=enqueued_at(payload),
        )
        for (name, (model, route)), (total, _, parked, _), running, payload in zip(
            known.items(), looks, answers[::2], answers[1::2], strict=True
        )
    ]


def _rate(lane: LaneStatus, workers: Iterable[WorkerStatus]) -> float | None:
    told = [served for worker in workers for served in worker.models if served.name == lane.model]
    return sum(served.rates.get(lane.route, 0.0) for served in told) if told else None
