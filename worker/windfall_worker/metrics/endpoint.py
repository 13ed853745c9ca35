"""The endpoint that Prometheus scrapes: an HTTP server in a thread, and a registry for this worker alone."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from windfall.errors import ConfigError
from windfall.runtime.extras import how_to_install
from windfall_worker.backends.routing import ModelBackends
from windfall_worker.control import Steerable
from windfall_worker.queue.lanes import LaneGroup
from windfall_worker.recorder import SILENT, Recorder

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_MISSING: Final = f"metrics need prometheus-client: {how_to_install('metrics')}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the worker reports its numbers to. Without a registry they are discarded."""

    recorder: Recorder = SILENT
    registry: CollectorRegistry | None = None

    def watch(self, worker: Steerable, groups: Sequence[LaneGroup], backends: Mapping[str, ModelBackends]) -> None:
        """Include the state of this worker in every scrape from now on."""
        if self.registry is not None:
            from windfall_worker.metrics.observed import Observed  # noqa: PLC0415 - an extra

            self.registry.register(Observed(worker, groups, backends))


@asynccontextmanager
async def open_endpoint(host: str, port: int) -> AsyncIterator[Endpoint]:
    """Serve on this port, or not at all if it is 0. Raises `ConfigError` if that is not possible."""
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
    # Otherwise every counter gets a second series with its creation time, which nothing uses.
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
        return f"port {port} on {host} is in use, perhaps by another worker: give this one another --metrics-port"
    if exc.errno == errno.EACCES:
        return f"not permitted to use port {port}: give a --metrics-port of 1024 or above"
    reason = exc.strerror or exc
    return f"cannot serve metrics on {host} port {port} ({reason}): --metrics-host must be an address of this machine"
