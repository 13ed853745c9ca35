"""Where a request may run: `local` never leaves the machine, whatever else there is."""

from __future__ import annotations

import asyncio

import pytest

from windfall import Route
from windfall_worker.backends.capacity import Capacity, Slot
from windfall_worker.backends.routing import GuardedBackend, ModelBackends, candidates
from windfall_worker.backends.simulated import SimulatedBackend


def guarded(name: str) -> GuardedBackend:
    backend = SimulatedBackend(0)
    backend.name = name
    return GuardedBackend(backend, Capacity(1), asyncio.Semaphore(1))


LOCAL, FIRST, SECOND = guarded("mlx"), guarded("openai"), guarded("anthropic")
BOTH, CLOUD_ONLY, LOCAL_ONLY = (
    ModelBackends(LOCAL, (FIRST, SECOND)),
    ModelBackends(None, (FIRST,)),
    ModelBackends(LOCAL),
)


@pytest.mark.parametrize(
    ("backends", "route", "spilled", "expected"),
    [
        (BOTH, Route.LOCAL, False, (LOCAL,)),
        (BOTH, Route.LOCAL, True, (LOCAL,)),
        (BOTH, Route.AUTO, False, (LOCAL, FIRST, SECOND)),
        (BOTH, Route.AUTO, True, (FIRST, SECOND)),
        (BOTH, Route.CLOUD, False, (FIRST, SECOND)),
        (CLOUD_ONLY, Route.LOCAL, True, ()),
        (CLOUD_ONLY, Route.AUTO, True, (FIRST,)),
        (LOCAL_ONLY, Route.AUTO, False, (LOCAL,)),
        (LOCAL_ONLY, Route.CLOUD, False, ()),
    ],
)
def test_each_route_has_its_candidates(
    backends: ModelBackends, route: Route, *, spilled: bool, expected: tuple[GuardedBackend, ...]
) -> None:
    assert candidates(backends, route, spilled=spilled) == expected


def test_a_job_that_falls_back_frees_its_place_at_the_engine() -> None:
    engine, cloud = Capacity(2), Capacity(2)
    slot = Slot(engine)
    assert engine.free == 1
    slot.move(cloud)
    assert (engine.held, cloud.held) == (0, 1)
    assert engine.wake.is_set()
    slot.leave()
    slot.leave()
    assert cloud.held == 0


def test_slow_jobs_prefetch_nothing_and_a_wish_for_lookahead_is_granted_before_a_long_backlog() -> None:
    assert Capacity(64).free == 64
    wishing = Capacity(64, lookahead=4)
    assert wishing.free == 64
    wishing.backlog = 4 * 64
    assert wishing.free == 68
