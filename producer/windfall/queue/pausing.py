"""Pausing and resuming lanes, batches and workers, and draining workers, from anywhere.

The state is in Redis, so that it also applies to workers that start later; `docs/protocol.md` lists the keys. A pause
keeps new jobs from being claimed and never stops running ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final

from arq import ArqRedis

from windfall import keys
from windfall.errors import NotFound
from windfall.queue.fleet import FleetStatus, read_fleet
from windfall.queue.housekeeping import go_on_with
from windfall.queue.workers import WorkerStatus, worker_name
from windfall.request import Route
from windfall.scripts import Script, run

_NO_BATCH, _ENDED = -1, -2  # answers of pause_batch.lua
_PAGE: Final = 500

#: Seconds for which a drain order is kept, in case its announcement is lost.
ORDER_LIFE: Final = 600


class Pausable(StrEnum):
    """What can be paused."""

    LANE = "lane"
    BATCH = "batch"
    WORKER = "worker"


async def pause(redis: ArqRedis, what: Pausable, name: str, route: Route | None) -> tuple[str, ...]:
    """Pause; returns what was not paused before: routes of a lane, a batch's id, workers' ids or their name."""
    if what is Pausable.BATCH:
        return await _pause_batch(redis, name)
    if what is Pausable.LANE:
        return await _pause_lane(redis, name, route)
    return await _pause_worker(redis, name)


async def resume(redis: ArqRedis, what: Pausable, name: str, route: Route | None) -> tuple[str, ...]:
    """Resume; returns what was paused before, in the same form. Raises `NotFound` for unknown names."""
    if what is Pausable.BATCH:
        return await _resume_batch(redis, name)
    if what is Pausable.LANE:
        return await _resume_lane(redis, name, route)
    return await _resume_worker(redis, name)


async def _pause_batch(redis: ArqRedis, name: str) -> tuple[str, ...]:
    answer = await run(redis, Script.PAUSE_BATCH, [keys.BATCH + name], [])
    if answer == _NO_BATCH:
        raise _no_batch(name)
    if answer == _ENDED:
        raise NotFound(f"batch {name} has ended: there is nothing left to pause")
    return (name,) if answer else ()


async def _resume_batch(redis: ArqRedis, name: str) -> tuple[str, ...]:
    left, was_paused = await run(redis, Script.RESUME_BATCH, [], [name, _PAGE, 1])
    if left == _NO_BATCH:
        raise _no_batch(name)
    if left > 0:
        await go_on_with(redis, name)
    return (name,) if was_paused else ()


def _no_batch(name: str) -> NotFound:
    return NotFound(f"no batch {name!r}: not found, or expired")


async def _pause_lane(redis: ArqRedis, model: str, route: Route | None) -> tuple[str, ...]:
    await _require_lane(redis, model)
    return await _each(redis, "sadd", _lanes(model, route))


async def _resume_lane(redis: ArqRedis, model: str, route: Route | None) -> tuple[str, ...]:
    lanes = _lanes(model, route)
    changed = await _each(redis, "srem", lanes)
    for each in changed:
        await redis.publish(keys.CHANNEL_WAKE + lanes[each], 1)
    if not changed:
        await _require_lane(redis, model)
    return changed


async def _require_lane(redis: ArqRedis, model: str) -> None:
    fleet = await read_fleet(redis)
    known = {lane.model for lane in fleet.lanes} | {served.name for worker in fleet.workers for served in worker.models}
    if model not in known:
        there_are = f"known are {', '.join(sorted(known))}" if known else "there are no live workers and no jobs"
        raise NotFound(f"no lane for model {model!r}: {there_are}")


def _lanes(model: str, route: Route | None) -> dict[str, str]:
    return {each.value: keys.lane_queue(model, each) for each in ([route] if route else Route)}


async def _pause_worker(redis: ArqRedis, name: str) -> tuple[str, ...]:
    fleet = await read_fleet(redis)
    meant = _meant(fleet, name)
    changed = await _each(redis, "sadd", {name: keys.WORKER + name})
    await _tell(redis, meant)
    return changed


async def _resume_worker(redis: ArqRedis, name: str) -> tuple[str, ...]:
    """The names by which a worker was paused; a shared one is resumed for every worker that has it."""
    client: Any = redis
    fleet = await read_fleet(redis)
    called = [worker for worker in fleet.workers if name in worker.names]
    paused = {key.decode().removeprefix(keys.WORKER) for key in await client.smembers(keys.PAUSED)}
    mine = {each for each in paused if name in (each, worker_name(each))}
    mine |= {each for worker in called for each in worker.names} & paused
    if not mine:
        _meant(fleet, name)
    changed = await _each(redis, "srem", {each: keys.WORKER + each for each in sorted(mine)})
    await _tell(redis, [worker for worker in fleet.workers if mine.intersection(worker.names)])
    return changed


async def drain(redis: ArqRedis, name: str) -> tuple[str, ...]:
    """Tell a worker, or all with that name, to end as on SIGTERM; returns their ids. Raises `NotFound`."""
    meant = _meant(await read_fleet(redis), name)
    for worker in meant:
        await redis.set(keys.DRAIN + worker.id, 1, ex=ORDER_LIFE)
    await _tell(redis, meant)
    return tuple(worker.id for worker in meant)


def _meant(fleet: FleetStatus, name: str) -> list[WorkerStatus]:
    meant = [worker for worker in fleet.workers if name in worker.names]
    if not meant:
        live = ", ".join(worker.id for worker in fleet.workers)
        raise NotFound(
            f"no live worker is called {name!r}; " + (f"live workers: {live}" if live else "no worker is live")
        )
    return meant


async def _tell(redis: ArqRedis, workers: Iterable[WorkerStatus]) -> None:
    """Notify the workers: they also check by themselves every other second."""
    for worker in workers:
        await redis.publish(keys.CHANNEL_WORKER + worker.id, "orders")


async def _each(redis: ArqRedis, command: str, members: dict[str, str]) -> tuple[str, ...]:
    """Add these members to the paused set, or remove them; returns the names whose state changed."""
    client: Any = redis
    async with client.pipeline(transaction=True) as pipe:
        for member in members.values():
            getattr(pipe, command)(keys.PAUSED, member)
        answers: Sequence[int] = await pipe.execute()
    return tuple(name for name, changed in zip(members, answers, strict=True) if changed)
