"""The worker on one page: settings -> backends -> feeds -> the fleet worker."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress

from arq import ArqRedis

from windfall.clock import RedisClock
from windfall.connection import connect, disconnect
from windfall.errors import ConfigError
from windfall.fleet import ServedModel
from windfall.keys import lane_queue
from windfall.request import Route
from windfall_worker.backends.base import Backend
from windfall_worker.backends.simulated import SimulatedBackend
from windfall_worker.capacity import Capacity
from windfall_worker.complete import Station, Tools
from windfall_worker.decide import Policy
from windfall_worker.fleet_worker import Feed, FleetWorker
from windfall_worker.registry import Heartbeat
from windfall_worker.settings import ModelSettings, WorkerSettings

logger = logging.getLogger("windfall.worker")


async def run_worker(
    settings: WorkerSettings,
    redis: str | ArqRedis,
    *,
    ready: asyncio.Event | None = None,
    stop: asyncio.Event | None = None,
    handle_signals: bool = True,
) -> None:
    """Run a worker until it is drained: by a signal, where it handles them, or by `stop`.

    `ready` is set once every model is loaded and the worker has looked for jobs. Raises `ConfigError` when a model
    cannot be loaded, and `BrokerError` when Redis cannot be reached at the start; later outages are waited out.
    """
    async with AsyncExitStack() as stack:
        pool = await connect(redis) if isinstance(redis, str) else redis
        if isinstance(redis, str):
            stack.push_async_callback(disconnect, pool)
        stations = {}
        for model in settings.models:
            backend = make_backend(model)
            stack.push_async_callback(backend.close)
            await backend.start()
            stations[model.name] = Station(backend, asyncio.Semaphore(backend.slots + backend.lookahead))
        clock = RedisClock(pool)
        tools = Tools(stations, clock, Policy(max_tries=settings.max_tries), settings.new_worker_id())
        worker = FleetWorker(pool, _feeds(stations), settings, tools, handle_signals=handle_signals)
        watchers = [asyncio.create_task(_heartbeat(pool, clock, worker).run())]
        if ready:
            watchers.append(asyncio.create_task(_forward(worker.ready, ready)))
        if stop:
            watchers.append(asyncio.create_task(_drain_at(stop, worker)))
        stack.push_async_callback(_end, watchers)
        logger.info("worker %s serves %s", worker.id, ", ".join(stations))
        await worker.async_run()


def make_backend(model: ModelSettings) -> Backend:
    """The backend that completes a model here. Raises `ConfigError`."""
    if model.simulate is not None:
        return SimulatedBackend(model.simulate, slots=model.slots)
    if model.mlx is not None:
        try:
            from windfall_worker.backends.mlx import MLXBackend  # noqa: PLC0415 - an extra
        except ImportError as exc:
            raise ConfigError('running models needs the worker extra: pip install "windfall[worker]"') from exc
        return MLXBackend(model.mlx, slots=model.slots)
    raise ConfigError(f"model {model.name!r} names nothing that completes it: give it an MLX model or a simulation")


def _feeds(stations: dict[str, Station]) -> tuple[Feed, ...]:
    return tuple(
        Feed(
            model,
            tuple(lane_queue(model, route) for route in (Route.LOCAL, Route.AUTO)),
            Capacity(station.backend.slots, lookahead=station.backend.lookahead),
        )
        for model, station in stations.items()
    )


def _heartbeat(redis: ArqRedis, clock: RedisClock, worker: FleetWorker) -> Heartbeat:
    def models() -> tuple[ServedModel, ...]:
        return tuple(
            ServedModel(
                name=feed.model,
                backends=(worker.tools.stations[feed.model].backend.name,),
                slots=feed.capacity.slots,
                running=min(feed.capacity.held, feed.capacity.slots),
            )
            for feed in worker.feeds
        )

    return Heartbeat(
        redis,
        clock,
        worker.id,
        state=lambda: "draining" if worker.draining else "running",
        models=models,
        counts=lambda: (worker.jobs_complete, worker.jobs_failed),
    )


async def _forward(source: asyncio.Event, target: asyncio.Event) -> None:
    await source.wait()
    target.set()


async def _drain_at(stop: asyncio.Event, worker: FleetWorker) -> None:
    await stop.wait()
    worker.drain()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
