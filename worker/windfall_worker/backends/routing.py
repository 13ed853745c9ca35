"""Where a request may run, and in what order. Pure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field

from windfall.request import Route
from windfall_worker.backends.base import Backend
from windfall_worker.backends.capacity import Capacity
from windfall_worker.backends.sharing import Sharing
from windfall_worker.guards.breaker import Breaker


def _unrestricted(_: Sharing) -> AbstractAsyncContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class GuardedBackend:
    """A backend on this worker, with what limits and guards its calls.

    `guard` is the breaker of a local engine, and `enter` restricts who shares it after an engine died. A cloud backend
    has its own breaker inside, and no process of ours can die there.
    """

    backend: Backend
    capacity: Capacity
    limit: asyncio.Semaphore
    guard: Callable[[], AbstractAsyncContextManager[None]] = field(default=nullcontext)
    breaker: Breaker | None = None  #: the breaker that guards it, here or inside the backend
    enter: Callable[[Sharing], AbstractAsyncContextManager[None]] = field(default=_unrestricted)


@dataclass(frozen=True, slots=True)
class ModelBackends:
    """What completes one model name on this worker: its engine, and its cloud mappings in order."""

    local: GuardedBackend | None
    cloud: tuple[GuardedBackend, ...] = ()

    def all(self) -> tuple[GuardedBackend, ...]:
        """Every guarded backend, the local one first."""
        return ((self.local,) if self.local else ()) + self.cloud


def candidates(backends: ModelBackends, route: Route, *, spilled: bool) -> tuple[GuardedBackend, ...]:
    """The backends that may run a request, in the order in which to try them.

    `local` never leaves this machine, whatever fails. `spilled` means that the job was claimed with the capacity of the
    cloud mappings: no engine has a slot for it, so it is not queued for one a second time.
    """
    local = (backends.local,) if backends.local else ()
    match route:
        case Route.LOCAL:
            return local
        case Route.CLOUD:
            return backends.cloud
        case _:
            return backends.cloud if spilled and backends.cloud else local + backends.cloud
