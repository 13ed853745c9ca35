"""This worker's heartbeat: tells the fleet that it is alive, what it serves and how busy it is."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from arq import ArqRedis

from windfall.broker.clock import RedisClock
from windfall.broker.connection import REDIS_ERRORS, translated
from windfall.queue.workers import (
    ASLEEP,
    ServedModel,
    WorkerStatus,
    note_serving,
    remove_heartbeat,
    worker_name,
    write_heartbeat,
)
from windfall.runtime.extras import DISTRIBUTION
from windfall.runtime.tasks import wait_for
from windfall_worker.backends.routing import ModelBackends
from windfall_worker.control import Gate, Steerable, Who
from windfall_worker.hardware import chip, memory_bytes
from windfall_worker.queue.throughput import Throughput
from windfall_worker.recorder import Recorder
from windfall_worker.settings import WorkerSettings

logger = logging.getLogger("windfall.heartbeat")

#: Seconds between heartbeats; several may be missed before the worker counts as gone.
_PERIOD: Final = 2.0


async def announce_serving(redis: ArqRedis, clock: RedisClock, models: Sequence[str]) -> None:
    """Say that this machine is about to serve these models, which no Mac has served yet. Raises `BrokerError`."""
    client: Any = redis
    with translated():
        now = await clock.now()
        async with client.pipeline(transaction=False) as pipe:
            note_serving(pipe, models, now, first=True)
            await pipe.execute()


class Heartbeat:
    """Writes the worker's status for as long as it runs."""

    def __init__(
        self,
        redis: ArqRedis,
        clock: RedisClock,
        worker: Steerable,
        backends: Mapping[str, ModelBackends],
        throughput: Throughput,
        record: Recorder,
        settings: WorkerSettings,
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._worker = worker
        self._backends = backends
        self._throughput = throughput
        self._record = record
        self._settings = settings
        self._paid = {model.name: settings.paid(model) for model in settings.models}
        self._started_at: float | None = None

    async def run(self) -> None:
        """Write heartbeats until cancelled, then remove the last one."""
        try:
            # Cached from here on. On a Mac this runs a program, which must not block the event loop.
            await asyncio.to_thread(lambda: (chip(), memory_bytes()))
            changed = self._worker.gate.changed
            while True:
                changed.clear()
                await self._beat()
                # At once: a machine that is about to sleep cannot say so later.
                await wait_for(changed, within=_PERIOD)
        finally:
            await self._remove()

    async def _beat(self) -> None:
        try:
            now = await self._clock.now()
            self._started_at = self._started_at or now
            completed, failed = self._worker.counts
            gate = self._worker.gate
            status = WorkerStatus(
                id=self._worker.id,
                name=worker_name(self._worker.id),
                host=socket.gethostname(),
                pid=os.getpid(),
                state=_state(gate),
                why=None if gate.draining else gate.why,
                started_at=self._started_at,
                seen_at=now,
                version=version(DISTRIBUTION),
                models=tuple(self._served(model, backends) for model, backends in self._backends.items()),
                completed=completed,
                failed=failed,
                chip=chip(),
                memory_bytes=memory_bytes(),
                spill=self._settings.spill,
                spill_after=self._settings.spill_after,
            )
            await write_heartbeat(self._redis, status)
        except REDIS_ERRORS as exc:
            self._record.redis_failed("heartbeat")
            logger.warning("could not write the heartbeat: %s", exc)

    def _served(self, model: str, backends: ModelBackends) -> ServedModel:
        capacities = {id(guarded.capacity): guarded.capacity for guarded in backends.all()}.values()
        return ServedModel(
            name=model,
            backends=tuple(guarded.backend.name for guarded in backends.all()),
            local=backends.local is not None,
            slots=sum(capacity.slots for capacity in capacities),
            running=sum(min(capacity.held, capacity.slots) for capacity in capacities),
            tokens_per_second=backends.local.backend.tokens_per_second if backends.local else None,
            rates=self._throughput.rates(model),
            paid=self._paid.get(model, ()),
            unavailable=_unavailable(backends),
            waits=next((guarded.backend.waits for guarded in backends.cloud if guarded.backend.waits), None),
        )

    async def _remove(self) -> None:
        try:
            async with asyncio.timeout(2):
                await remove_heartbeat(self._redis, self._worker.id)
        except REDIS_ERRORS as exc:
            logger.warning("could not remove the heartbeat: %s", exc)


def _unavailable(backends: ModelBackends) -> tuple[str, ...]:
    """The names under which nothing takes calls: two mappings may have one provider."""
    names = dict.fromkeys(guarded.backend.name for guarded in backends.all())
    up = {guarded.backend.name for guarded in backends.all() if guarded.backend.available}
    return tuple(name for name in names if name not in up)


def _state(gate: Gate) -> str:
    """What the worker does with new jobs, in one word."""
    if gate.draining:
        return "draining"
    if Who.SLEEP in gate.reasons:
        return ASLEEP
    return "running" if gate.open else "paused"
