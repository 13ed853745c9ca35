"""The worker on one page: settings -> backends -> groups -> the fleet worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from arq import ArqRedis
from structlog.contextvars import bound_contextvars

from windfall.broker.clock import RedisClock
from windfall.broker.connection import connect, disconnect
from windfall.queue.housekeeping import Housekeeping
from windfall.runtime.tasks import cancel_all
from windfall_worker.backends.opening import LocalBackend, local_backend, open_backends
from windfall_worker.backends.watching import watch_backends
from windfall_worker.citizen.machine import Machine, this_machine
from windfall_worker.citizen.watchers import watch_machine
from windfall_worker.fleet_worker import FleetWorker
from windfall_worker.jobs.context import WorkerContext
from windfall_worker.jobs.decide import Policy
from windfall_worker.metrics.endpoint import open_endpoint
from windfall_worker.queue.claims import ClaimClient, Lease
from windfall_worker.queue.heartbeat import Heartbeat, announce_serving
from windfall_worker.queue.lanes import make_lane_groups, watch_backlogs
from windfall_worker.queue.namesake import check_namesake
from windfall_worker.queue.outbox import Outbox
from windfall_worker.queue.script_keeper import keep_scripts
from windfall_worker.queue.spill import Spill, SpillRule
from windfall_worker.recorder import Recorder
from windfall_worker.settings import WorkerSettings

logger = logging.getLogger("windfall.worker")


@dataclass(frozen=True, slots=True)
class Parts:
    """The replaceable parts of a worker: tests hand in others."""

    claim_client: Callable[[ArqRedis, str, Lease], ClaimClient] = ClaimClient
    outbox: Callable[[ArqRedis, Recorder], Outbox] = Outbox
    local_backend: LocalBackend = local_backend
    machine: Machine | None = None  #: None is the machine that this process runs on


async def run_worker(
    settings: WorkerSettings,
    redis: str | ArqRedis,
    *,
    ready: asyncio.Event | None = None,
    stop: asyncio.Event | None = None,
    handle_signals: bool = True,
    parts: Parts = Parts(),
) -> None:
    """Run a worker until it is drained: by a signal (with `handle_signals`), or by `stop`.

    `ready` is set once every model is loaded and the worker is looking for jobs. Raises `ConfigError` when a model
    cannot be loaded, a key is missing or this machine already runs a worker of the same name, and `BrokerError` when
    Redis cannot be reached at the start; later outages are waited out. `parts` lets tests replace parts of the worker.
    """
    worker_id = settings.new_worker_id()
    async with AsyncExitStack() as stack:
        stack.enter_context(bound_contextvars(worker=worker_id))
        metrics = await stack.enter_async_context(open_endpoint(settings.metrics_host, settings.metrics_port))
        pool = await connect(redis) if isinstance(redis, str) else redis
        if isinstance(redis, str):
            stack.push_async_callback(disconnect, pool)
        await check_namesake(pool, settings, worker_id)
        clock = RedisClock(pool)
        # While the fleet's first Mac loads its models, the cloud should not take their jobs.
        await announce_serving(pool, clock, [model.name for model in settings.models if model.local])
        backends = await open_backends(settings, pool, stack, parts.local_backend)
        policy, record = Policy(max_tries=settings.max_tries), metrics.recorder
        context = WorkerContext(
            backends,
            clock,
            policy,
            worker_id,
            record,
            max_deliveries=settings.max_deliveries,
            max_row_bytes=settings.max_row_bytes,
        )
        mappings = {model.name: ", ".join(model.cloud) for model in settings.models if model.cloud}
        spill = Spill(pool, clock, mappings, SpillRule(settings.spill, settings.spill_after))
        groups = make_lane_groups(backends, spill)
        lease = Lease(round(settings.lease * 1000), round(settings.renewal * 1000))
        client, outbox = parts.claim_client(pool, worker_id, lease), parts.outbox(pool, record)
        stack.push_async_callback(client.close)
        worker = FleetWorker(pool, groups, settings, context, client, outbox, handle_signals=handle_signals)
        metrics.watch(worker, groups, backends)
        watching = await watch_machine(worker, settings.rules, parts.machine or this_machine())
        heartbeat = Heartbeat(pool, clock, worker, backends, worker.jobs.throughput, record, settings)
        watchers = [
            asyncio.create_task(watch_backends(backends, worker.look_again)),
            asyncio.create_task(watch_backlogs(pool, clock, groups, record)),
            asyncio.create_task(heartbeat.run()),
            asyncio.create_task(keep_scripts(pool)),
            asyncio.create_task(Housekeeping(pool, clock, round(settings.keep * 1000)).run()),
            *[asyncio.create_task(each) for each in watching],
        ]
        if mappings:
            watchers.append(asyncio.create_task(spill.run(worker.look_again)))
        if ready:
            watchers.append(asyncio.create_task(_forward(worker.ready, ready)))
        if stop:
            watchers.append(asyncio.create_task(_drain_on(stop, worker)))
        stack.push_async_callback(cancel_all, watchers)
        logger.info("worker %s serves %s", worker.id, ", ".join(backends))
        await _until_drained(asyncio.create_task(worker.async_run()), watchers)


async def _until_drained(working: asyncio.Task[None], watchers: Sequence[asyncio.Task[None]]) -> None:
    """Work until drained. A watcher fails only on a bug, and ends the worker: without it the worker runs half blind."""
    left: set[asyncio.Task[None]] = {working, *watchers}
    try:
        while not working.done():
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        await cancel_all([working])


async def _forward(source: asyncio.Event, target: asyncio.Event) -> None:
    await source.wait()
    target.set()


async def _drain_on(stop: asyncio.Event, worker: FleetWorker) -> None:
    await stop.wait()
    worker.drain()
