"""The endpoint that Prometheus scrapes: a thread with an HTTP server, and a registry that is this worker's alone."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from windfall.errors import ConfigError
from windfall.extras import how_to_install
from windfall_worker.backends.routing import ModelBackends
from windfall_worker.control import Steerable
from windfall_worker.queue.lanes import LaneGroup
from windfall_worker.recorder import SILENT, Recorder

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_MISSING = f"metrics need prometheus-client: {how_to_install('metrics')}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the worker tells its numbers to. Without a registry it is nobody."""

    recorder: Recorder = SILENT
    registry: CollectorRegistry | None = None

    def watch(self, worker: Steerable, groups: Sequence[LaneGroup], backends: Mapping[str, ModelBackends]) -> None:
        """From now on look at this worker, too, whenever somebody asks."""
        if self.registry is not None:
            from windfall_worker.metrics.observed import Observed  # noqa: PLC0415 - an extra

            self.registry.register(Observed(worker, groups, backends))


@asynccontextmanager
async def open_endpoint(host: str, port: int) -> AsyncIterator[Endpoint]:
    """Serve on this port, or, where it is 0, not at all. Raises `ConfigError` where that cannot be."""
    if not port:
        yield Endpoint()
        return
    try:
        from prometheus_client import (  # noqa: PLC0415 - an extra
            CollectorRegistry,
            disable_created_metrics,
        )

        from windfall_worker.metrics.counted import Counted  # noqa: PLC0415 - an extra
        from windfall_worker.metrics.server import served  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as exc:
        raise ConfigError(_MISSING) from exc
    # A second series beside each counter, with when it began: nobody asks for it.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry(auto_describe=False)
    serving = served(host, port, registry)
    try:
        serving.__enter__()
    except OSError as exc:
        raise ConfigError(_why_not(exc, host, port)) from exc
    try:
        yield Endpoint(Counted(registry), registry)
    finally:
        await asyncio.to_thread(serving.__exit__, None, None, None)


def _why_not(exc: OSError, host: str, port: int) -> str:
    if exc.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use, perhaps by another worker: give this one another --metrics-port"
    if exc.errno == errno.EACCES:
        return f"port {port} is not for everybody: give a --metrics-port from 1024 on"
    return f"metrics cannot be served on {host} port {port} ({exc.strerror or exc}): --metrics-host names this machine"
