"""The workers of a fleet: what each says of itself with its heartbeat, and those that were lost lately."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final

from arq import ArqRedis
from pydantic import Field, ValidationError

from windfall import keys
from windfall.queue.quarantine import answers, number, put_aside
from windfall.request import Route
from windfall.shapes import Record

#: Milliseconds after which a silent worker's heartbeat expires.
HEARTBEAT_TTL: Final = 15_000

#: Seconds for which a lost worker is told of, and for which one that sleeps may be.
LOST_FOR: Final = 3600.0

#: The state of a worker whose machine sleeps, in its last heartbeat.
ASLEEP: Final = "asleep"

#: Milliseconds for which it is remembered that a Mac served a model.
_SERVED_LIFE: Final = 30 * 24 * 3600 * 1000

#: Bytes read of a heartbeat.
_LONGEST_BEAT: Final = 256 * 1024

#: Seconds after which a silent worker that was paused or drained by its id is considered gone.
_LONGEST_SLEEP: Final = 2 * 24 * 3600


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
    waits: str | None = None  #: why its cloud side takes no jobs, and what to do about it
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
    state: str  #: running, paused, asleep or draining
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
    def asleep(self) -> bool:
        """Whether its machine went to sleep; it says so just before."""
        return self.state == ASLEEP

    @property
    def names(self) -> tuple[str, ...]:
        """Everything it may be called."""
        return worker_names(self.id, self.host)


class LostWorker(Record):
    """A worker that ended without a word, or whose machine sleeps."""

    id: str
    seen_at: float  #: Unix seconds on Redis' clock: its last heartbeat
    asleep: bool = False  #: it said that its machine was about to sleep
    taken_over: int = 0  #: jobs that others took over from it


async def write_heartbeat(redis: ArqRedis, status: WorkerStatus) -> None:
    """Report that a worker is alive."""
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.set(
            keys.WORKER + status.id,
            status.model_dump_json(),
            px=round(LOST_FOR * 1000) if status.asleep else HEARTBEAT_TTL,
        )
        pipe.zadd(keys.WORKERS, {status.id: round(status.seen_at * 1000)})
        if status.state not in ("draining", ASLEEP):
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


async def read_workers(
    redis: ArqRedis, seen: dict[str, float], paused: set[str], now: float
) -> tuple[tuple[WorkerStatus, ...], tuple[LostWorker, ...]]:
    """The live workers, by id, and those that were lost, the newest first.

    `seen`: the ids, and when each was last heard from. One that was paused by its id may be asleep for a while.
    """
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        for name in seen:
            pipe.getrange(keys.WORKER + name, 0, _LONGEST_BEAT)
        beats = await answers(redis, pipe) if seen else []
    # A heartbeat counts only for the worker whose key holds it.
    told = [(name, _read_heartbeat(beat)) for name, beat in zip(seen, beats, strict=True)]
    known = {name: status for name, status in told if status is not None and status.id == name}
    asleep = {name for name, status in known.items() if status.asleep and now - seen[name] > HEARTBEAT_TTL / 1000}
    silent = asleep | {name for name, beat in zip(seen, beats, strict=True) if not beat}
    lost = [name for name in sorted(silent, key=lambda name: -seen[name]) if abs(now - seen[name]) <= LOST_FOR]
    await _forget(redis, seen, silent, paused, now)
    taken = await client.hmget(keys.LOST, lost) if lost else []
    return (
        tuple(known[name] for name in sorted(known) if name not in asleep),
        tuple(
            LostWorker(id=name, seen_at=seen[name], asleep=name in asleep, taken_over=max(0, number(jobs)))
            for name, jobs in zip(lost, taken, strict=True)
        ),
    )


async def _forget(redis: ArqRedis, seen: dict[str, float], silent: set[str], paused: set[str], now: float) -> None:
    """Remove what has been silent for too long: what was paused by its id, which may be asleep, after days."""
    client: Any = redis
    gone = [
        name
        for name in silent
        if abs(now - seen[name]) > (_LONGEST_SLEEP if keys.WORKER + name in paused else LOST_FOR)
    ]
    if gone:
        await client.zrem(keys.WORKERS, *gone)
        await client.srem(keys.PAUSED, *(keys.WORKER + name for name in gone))
        await client.hdel(keys.LOST, *gone)


def _read_heartbeat(beat: bytes | None) -> WorkerStatus | None:
    """The status in a heartbeat; None if the worker has ended or this version cannot read it."""
    try:
        return WorkerStatus.model_validate_json(beat) if beat else None
    except ValidationError:
        return None
