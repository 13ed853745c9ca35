"""The fleet: the live workers of one Redis, what they serve, and what waits."""

from __future__ import annotations

from typing import Any

from arq import ArqRedis
from pydantic import Field, ValidationError

from windfall import keys
from windfall.request import Record, Route


class ServedModel(Record):
    """A model that a worker serves."""

    name: str
    backends: tuple[str, ...]
    local: bool = True  #: whether the worker's own machine completes it
    slots: int
    running: int = 0
    tokens_per_second: float | None = None


class WorkerStatus(Record):
    """A worker's heartbeat."""

    id: str
    host: str
    pid: int
    state: str  #: starting, running, paused or draining
    why: str | None = None  #: why it is paused
    started_at: float  #: Unix seconds on Redis' clock
    seen_at: float
    version: str
    models: tuple[ServedModel, ...] = ()
    completed: int = 0
    failed: int = 0


class LaneStatus(Record):
    """A lane and its backlog."""

    model: str
    route: Route
    queued: int
    running: int


class FleetStatus(Record):
    """The fleet at one instant."""

    workers: tuple[WorkerStatus, ...] = ()
    lanes: tuple[LaneStatus, ...] = ()
    now: float = Field(description="Unix seconds on Redis' clock")

    def serves(self, model: str) -> bool:
        """Whether a live worker serves this model."""
        return any(served.name == model for worker in self.workers for served in worker.models)

    def serves_locally(self, model: str) -> bool:
        """Whether a live worker completes this model on its own machine."""
        return any(served.name == model and served.local for worker in self.workers for served in worker.models)


#: Milliseconds after which a silent worker's heartbeat is gone.
HEARTBEAT_TTL = 15_000


async def write_heartbeat(redis: ArqRedis, status: WorkerStatus) -> None:
    """Say that a worker lives."""
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.set(keys.WORKER + status.id, status.model_dump_json(), px=HEARTBEAT_TTL)
        pipe.zadd(keys.WORKERS, {status.id: round(status.seen_at * 1000)})
        await pipe.execute()


async def remove_heartbeat(redis: ArqRedis, worker_id: str) -> None:
    """Say that a worker has ended."""
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.delete(keys.WORKER + worker_id)
        pipe.zrem(keys.WORKERS, worker_id)
        await pipe.execute()


async def read_fleet(redis: ArqRedis) -> FleetStatus:
    """The live workers and the lanes."""
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.zrange(keys.WORKERS, 0, -1)
        pipe.smembers(keys.LANES)
        (seconds, micros), ids, queues = await pipe.execute()
    beats = await client.mget([keys.WORKER + name.decode() for name in ids]) if ids else []
    gone = [name for name, beat in zip(ids, beats, strict=True) if beat is None]
    if gone:
        await client.zrem(keys.WORKERS, *gone)
    workers = [status for status in map(_read_heartbeat, beats) if status is not None]
    now = seconds + micros / 1e6
    return FleetStatus(workers=tuple(workers), lanes=await _lanes(client, queues), now=now)


def _read_heartbeat(beat: bytes | None) -> WorkerStatus | None:
    """None for a worker that has ended, or that speaks of itself in a way that this version does not know."""
    try:
        return WorkerStatus.model_validate_json(beat) if beat else None
    except ValidationError:
        return None


async def _lanes(client: Any, queues: set[bytes]) -> tuple[LaneStatus, ...]:
    parts = {name: keys.lane_parts(name) for name in sorted(queue.decode() for queue in queues)}
    known = {name: found for name, found in parts.items() if found is not None}
    async with client.pipeline(transaction=False) as pipe:
        for name in known:
            pipe.zcard(name)
            pipe.zrange(name + keys.HELD_SUFFIX, 0, -1)
        counts = await pipe.execute()
    lanes = []
    for (model, route), total, held in zip(known.values(), counts[::2], counts[1::2], strict=True):
        # Held are the running jobs, and those that were put back for later.
        running = await client.exists(*(keys.HOLDER + name.decode() for name in held)) if held else 0
        lanes.append(LaneStatus(model=model, route=route, queued=total - running, running=running))
    return tuple(lanes)
