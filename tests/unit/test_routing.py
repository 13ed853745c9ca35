"""Where a request may run: `local` never leaves the machine, whatever else there is."""

from __future__ import annotations

import asyncio

import pytest

from windfall import Route
from windfall_worker.backends.simulated import SimulatedBackend
from windfall_worker.capacity import Capacity, Seat
from windfall_worker.routing import Station, Stations, candidates


def station(name: str) -> Station:
    backend = SimulatedBackend(0)
    backend.name = name
    return Station(backend, Capacity(1), asyncio.Semaphore(1))


LOCAL, FIRST, SECOND = station("mlx"), station("openai"), station("anthropic")
BOTH, CLOUD_ONLY, LOCAL_ONLY = Stations(LOCAL, (FIRST, SECOND)), Stations(None, (FIRST,)), Stations(LOCAL)


@pytest.mark.parametrize(
    ("stations", "route", "spilled", "expected"),
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
    stations: Stations, route: Route, *, spilled: bool, expected: tuple[Station, ...]
) -> None:
    assert candidates(stations, route, spilled=spilled) == expected


def test_a_job_that_falls_back_frees_its_place_at_the_engine() -> None:
    engine, cloud = Capacity(2), Capacity(2)
    seat = Seat(engine)
    assert engine.free == 1
    seat.move(cloud)
    assert (engine.held, cloud.held) == (0, 1)
    assert engine.wake.is_set()
    seat.leave()
    seat.leave()
    assert cloud.held == 0


def test_slow_jobs_prefetch_nothing_and_a_wish_for_lookahead_is_granted_before_a_long_backlog() -> None:
    assert Capacity(64).free == 64
    wishing = Capacity(64, lookahead=4)
    assert wishing.free == 64
    wishing.backlog = 4 * 64
    assert wishing.free == 68
