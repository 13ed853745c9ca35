"""Why nothing of a batch or a job moves, and what to do about it: a sentence for each reason."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from windfall.batch import BatchStatus
from windfall.cli.screen.console import duration
from windfall.errors import NotFound
from windfall.keys import batch_of
from windfall.producer import Producer
from windfall.queue.asked_lanes import Lane, lanes_of_batch, lanes_of_job
from windfall.queue.fleet import FleetStatus
from windfall.queue.workers import ServedModel, WorkerStatus
from windfall.request import Route

#: Seconds between two looks at the whole fleet.
_PERIOD: Final = 5.0


class Standstill:
    """Looks now and then why a batch of which nothing runs does not move."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._next = 0.0
        self._last: list[str] = []

    async def of_batch(self, batch: BatchStatus) -> list[str]:
        """The reasons, at most `_PERIOD` seconds old; none if something runs, or there is nothing to run."""
        if batch.done or batch.running or not batch.queued:
            self._next = 0.0
            return []
        if batch.paused:
            return [f"the batch is paused; to resume it: windfall resume batch {batch.id}"]
        if time.monotonic() >= self._next:
            fleet = await self._producer.fleet()
            self._last = [*reasons(fleet, await lanes_of_batch(self._producer.redis, batch.id)), *fleet.waits()]
            self._next = time.monotonic() + _PERIOD
        return self._last

    async def of_job(self, job_id: str) -> list[str]:
        """The reasons for a job that is queued."""
        batch = batch_of(job_id)
        if batch is not None:
            with suppress(NotFound):
                if (await self._producer.batch(batch)).paused:
                    return [f"its batch is paused; to resume it: windfall resume batch {batch}"]
        return reasons(await self._producer.fleet(), await lanes_of_job(self._producer.redis, job_id))


@dataclass(frozen=True, slots=True)
class _Server:
    """A live worker, what it serves under a lane's model, and the names of its backends for the lane's route."""

    worker: WorkerStatus
    served: ServedModel
    backends: tuple[str, ...]

    @property
    def up(self) -> bool:
        """Whether one of these backends takes calls."""
        return not set(self.backends) <= set(self.served.unavailable)


@dataclass(frozen=True, slots=True)
class _Lane:
    """A lane, and who serves it."""

    model: str
    route: Route
    fleet: FleetStatus
    servers: tuple[_Server, ...]

    @property
    def heard(self) -> list[_Server]:
        """Those whose heartbeat is not late."""
        return [each for each in self.servers if self.fleet.late(each.worker) is None]

    @property
    def working(self) -> list[_Server]:
        """Those of them that take new jobs."""
        return [each for each in self.heard if each.worker.state == "running"]

    @property
    def up(self) -> list[_Server]:
        """Those of them of which a backend takes calls."""
        return [each for each in self.working if each.up]


def reasons(fleet: FleetStatus, lanes: Mapping[Lane, int]) -> list[str]:
    """Why no job of these lanes runs. `lanes`: how many of the jobs in question were never claimed there."""
    found = [reason for lane in sorted(lanes) if (reason := _reason(fleet, *lane))]
    if not found and lanes and not any(lanes.values()):
        return ["they were put back for a while, after a failure or because a backend asked for a pause"]
    return list(dict.fromkeys(found))


def _reason(fleet: FleetStatus, model: str, route: Route) -> str | None:
    """The first reason that applies: each check relies on those before it."""
    lane = _Lane(model, route, fleet, tuple(_servers(fleet, model, route)))
    checks = (_lane_paused, _unserved, _all_silent, _all_paused, _all_down, _no_mac_yet, _all_busy)
    return next((reason for check in checks if (reason := check(lane))), None)


def _servers(fleet: FleetStatus, model: str, route: Route) -> Iterator[_Server]:
    for worker in fleet.workers:
        for served in worker.models:
            here = served.backends[: int(served.local)]
            cloud = served.backends[len(here) :]
            backends = {Route.LOCAL: here, Route.CLOUD: cloud, Route.AUTO: here + cloud}[route]
            if served.name == model and backends:
                yield _Server(worker, served, backends)


def _lane_paused(lane: _Lane) -> str | None:
    if not any(each.paused and (each.model, each.route) == (lane.model, lane.route) for each in lane.fleet.lanes):
        return None
    what = f"{lane.model} --route {lane.route.value}"
    return f"the lane of {lane.model} ({lane.route.value}) is paused; to resume it: windfall resume lane {what}"


def _unserved(lane: _Lane) -> str | None:
    model = lane.model
    if lane.servers:
        return None
    if lane.route is Route.CLOUD:
        start = f"start one with windfall worker --cloud {model}=PROVIDER:MODEL"
        return f"no live worker has a cloud mapping for {model}: {start}"
    start = f"start one with windfall worker --model {model}=PATH"
    if lane.fleet.serves(model):
        return f"no live Mac serves {model}, and jobs of route local go nowhere else: {start}"
    return f"no live worker serves {model}: {start}"


def _all_silent(lane: _Lane) -> str | None:
    if lane.heard:
        return None
    since = min(lane.fleet.now - each.worker.seen_at for each in lane.servers)
    return f"no worker that serves {lane.model} has sent a heartbeat for {duration(since)}: {_named(lane.servers)}"


def _all_paused(lane: _Lane) -> str | None:
    if lane.working:
        return None
    why = "; ".join(f"{each.worker.id}: {each.worker.why or each.worker.state}" for each in lane.heard)
    number = len(lane.heard)
    who = f"none of the {number} workers that serve" if number > 1 else "the only worker that serves"
    ordered = [each.worker.id for each in lane.heard if "windfall pause" in (each.worker.why or "")]
    do = f"; to resume it: windfall resume worker {ordered[0]}" if ordered else ""
    return f"{who} {lane.model} takes {'any' if number > 1 else 'no'} new jobs ({why}){do}"


def _all_down(lane: _Lane) -> str | None:
    if lane.up:
        return None
    engines = [each for each in lane.working if each.served.local and lane.route is not Route.CLOUD]
    if engines:
        down = f"the engine of {lane.model} is down on {_named(engines)}"
        return f"{down}: it restarts by itself, and the worker's log says why"
    return (
        f"every endpoint of {lane.model} refuses calls or asked for a pause ({_backends(lane.working)}): "
        "windfall breaker list says until when"
    )


def _no_mac_yet(lane: _Lane) -> str | None:
    if lane.route is not Route.AUTO or any(each.served.local_up for each in lane.up):
        return None
    times = [each.worker.spill_after for each in lane.up if each.worker.spill_after is not None]
    if not times:
        return None
    return f"no live Mac serves {lane.model}: after {min(times):g} s without one, its jobs go to {_backends(lane.up)}"


def _all_busy(lane: _Lane) -> str | None:
    slots, running = (sum(getattr(each.served, name) for each in lane.up) for name in ("slots", "running"))
    if running < slots:
        return None
    return f"all {slots:,} slots for {lane.model} are busy with other jobs: these wait for their turn"


def _named(servers: Sequence[_Server]) -> str:
    more = f" and {len(servers) - 3} more" if len(servers) > 3 else ""
    return ", ".join(each.worker.id for each in servers[:3]) + more


def _backends(servers: Sequence[_Server]) -> str:
    return ", ".join(dict.fromkeys(name for each in servers for name in each.backends))
