"""The fleet: the live workers of one Redis, what they serve, and what waits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final

from arq import ArqRedis
from pydantic import Field, ValidationError

from windfall import keys
from windfall.queue.flows import first_rows
from windfall.queue.quarantine import MOST, answers, number, put_aside, readable
from windfall.request import Route
from windfall.shapes import Record
from windfall.wire import HEAD_BYTES, enqueued_at

#: What a worker's id adds to its name: its process id, and a random part.
_NUMBERS: Final = re.compile(r"-\d+-[0-9a-f]{6}$")


def worker_name(worker_id: str) -> str:
    """The name of the worker with this id."""
    return _NUMBERS.sub("", worker_id)


def worker_names(worker_id: str, host: str) -> tuple[str, ...]:
    """Everything a worker may be called: an id means one process; a name or a host also means its successors."""
    return tuple(dict.fromkeys((worker_id, worker_name(worker_id), host, host.removesuffix(".local"))))


# Bounds of what a heartbeat may say: everyone reads it, and anyone with write access may have written it.
Count = Annotated[int, Field(ge=0, le=2**53)]
Speed = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Moment = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]


class ServedModel(Record):
    """A model that a worker serves."""

    name: str
    backends: tuple[str, ...]
    local: bool = True  #: whether the worker's own machine runs it
    slots: Count
    running: Count = 0
    tokens_per_second: Speed | None = None
    rates: dict[Route, Speed] = Field(default_factory=dict)  #: recent jobs per second, by the lane's route
    paid: tuple[str, ...] = ()  #: its cloud mappings that are billed, as provider:model
    unavailable: tuple[str, ...] = ()  #: the backends that take no calls now: an engine that is down, an open breaker

    @property
    def local_up(self) -> bool:
        """Whether the worker's own machine runs it, and its engine is up."""
        return self.local and not set(self.backends[:1]) & set(self.unavailable)


class WorkerStatus(Record):
    """A worker's heartbeat."""

    id: str
    name: str | None = None  #: the name that people use; older workers leave it out
    host: str
    pid: int = Field(gt=0, lt=2**31)  #: also used to find workers of the same name
    state: str  #: running, paused or draining
    why: str | None = None  #: why it is paused
    started_at: Moment  #: Unix seconds on Redis' clock
    seen_at: Moment
    version: str
    models: tuple[ServedModel, ...] = ()
    completed: Count = 0
    failed: Count = 0
    chip: str | None = None  #: the chip that computes there
    memory_bytes: Count | None = None
    spill: str | None = None  #: when it sends `auto` jobs to the cloud; older workers leave it out
    spill_after: Moment | None = None  #: seconds

    @property
    def names(self) -> tuple[str, ...]:
        """Everything it may be called."""
        return worker_names(self.id, self.host)


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
    lanes: tuple[LaneStatus, ...] = ()
    now: float = Field(description="Unix seconds on Redis' clock")

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

    def serves_locally(self, model: str) -> bool:
        """Whether a live worker runs this model on its own machine, or would once it is resumed."""
        staying = [worker for worker in self.workers if worker.state != "draining"]
        return any(served.name == model and served.local_up for worker in staying for served in worker.models)


#: Milliseconds after which a silent worker's heartbeat expires.
HEARTBEAT_TTL: Final = 15_000

#: Milliseconds for which it is remembered that a Mac served a model.
_SERVED_LIFE: Final = 30 * 24 * 3600 * 1000

#: Held jobs read per lane: more than any fleet runs.
_HELD_MOST: Final = 100_000

#: Bytes read of a heartbeat.
_LONGEST_BEAT: Final = 256 * 1024

#: Seconds after which a silent worker that was paused or drained by its id is considered gone.
_LONGEST_SLEEP: Final = 2 * 24 * 3600


async def write_heartbeat(redis: ArqRedis, status: WorkerStatus) -> None:
    """Report that a worker is alive."""
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.set(keys.WORKER + status.id, status.model_dump_json(), px=HEARTBEAT_TTL)
        pipe.zadd(keys.WORKERS, {status.id: round(status.seen_at * 1000)})
        if status.state != "draining":
            note_serving(pipe, [served.name for served in status.models if served.local_up], status.seen_at)
        _, listed, *_ = await answers(redis, pipe)
    if listed is None:
        await put_aside(redis, [keys.WORKERS])


def note_serving(pipe: Any, models: Iterable[str], now: float, *, first: bool = False) -> None:
    """Note that a Mac serves these models at this time: workers with cloud mappings look at nothing else.

    `first`: only if none has so far. A worker that never gets beyond its start must not count as live for ever.
    """
    for model in models:
        pipe.set(keys.SERVES + model, round(now * 1000), px=_SERVED_LIFE, nx=first)


async def remove_heartbeat(redis: ArqRedis, worker_id: str) -> None:
    """Report that a worker has ended; orders to this particular process are removed."""
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
        pipe.zrange(keys.WORKERS, 0, MOST - 1, withscores=True)
        # Bounded: someone may have filled the set with millions of members.
        pipe.srandmember(keys.LANES, MOST)
        pipe.srandmember(keys.PAUSED, MOST)
        (seconds, micros), beats, queues, paused = await answers(redis, pipe, keys.SHARED)
    now = seconds + micros / 1e6
    names = set(await readable(redis, keys.PAUSED, paused))
    seen = {raw: at / 1000 for raw, at in beats or ()}
    live = await readable(redis, keys.WORKERS, seen)
    workers = await _workers(redis, {name: seen[name.encode()] for name in live}, names, now)
    known = set(await readable(redis, keys.LANES, queues))
    lanes = await _lanes(redis, known, names, round(now * 1000))
    told = [lane.model_copy(update={"rate": _rate(lane, workers)}) for lane in lanes]
    return FleetStatus(workers=workers, lanes=tuple(told), now=now)


async def _workers(redis: ArqRedis, seen: dict[str, float], paused: set[str], now: float) -> tuple[WorkerStatus, ...]:
    """`seen`: the ids, and when each was last heard from. One that was paused by its id may be asleep for a while."""
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        for name in seen:
            pipe.getrange(keys.WORKER + name, 0, _LONGEST_BEAT)
        beats = await answers(redis, pipe) if seen else []
    gone = [
        name
        for (name, at), beat in zip(seen.items(), beats, strict=True)
        if not beat and (keys.WORKER + name not in paused or now - at > _LONGEST_SLEEP)
    ]
    if gone:
        await client.zrem(keys.WORKERS, *gone)
        await client.srem(keys.PAUSED, *(keys.WORKER + name for name in gone))
    # A heartbeat counts only for the worker whose key holds it.
    told = [(name, _read_heartbeat(beat)) for name, beat in zip(seen, beats, strict=True)]
    known = [status for name, status in told if status is not None and status.id == name]
    return tuple(sorted(known, key=lambda status: status.id))  # a stable order for display


def _read_heartbeat(beat: bytes | None) -> WorkerStatus | None:
    """The status in a heartbeat; None if the worker has ended or this version cannot read it."""
    try:
        return WorkerStatus.model_validate_json(beat) if beat else None
    except ValidationError:
        return None


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
