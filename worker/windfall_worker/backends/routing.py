"""Where a request may run, and in which order. Pure."""

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


def _open_door(_: Sharing) -> AbstractAsyncContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class GuardedBackend:
    """A backend on this worker: how many calls it gets at once, and what guards it.

    `guard` is the breaker of a local engine, and `enter` its door after deaths; cloud backends bring their own breaker,
    and nothing of ours dies there.
    """

    backend: Backend
    capacity: Capacity
    limit: asyncio.Semaphore
    guard: Callable[[], AbstractAsyncContextManager[None]] = field(default=nullcontext)
    breaker: Breaker | None = None  #: the one that guards it, whoever asks it
    enter: Callable[[Sharing], AbstractAsyncContextManager[None]] = field(default=_open_door)


@dataclass(frozen=True, slots=True)
class ModelBackends:
    """What completes one model name on this worker: its own engine, and cloud mappings in their order."""

    local: GuardedBackend | None
    cloud: tuple[GuardedBackend, ...] = ()

    def all(self) -> tuple[GuardedBackend, ...]:
        """Every guarded, local first."""
        return ((self.local,) if self.local else ()) + self.cloud


def candidates(backends: ModelBackends, route: Route, *, spilled: bool) -> tuple[GuardedBackend, ...]:
    """The backends that may run a request, the one to try first in front.

    `local` never leaves this machine, whatever fails. `spilled` says that the job came by way of the cloud's capacity:
    then no engine has a place for it, and it is not queued there a second time.
    """
    local = (backends.local,) if backends.local else ()
    match route:
        case Route.LOCAL:
            return local
        case Route.CLOUD:
            return backends.cloud
        case _:
            return backends.cloud if spilled and backends.cloud else local + backends.cloud
