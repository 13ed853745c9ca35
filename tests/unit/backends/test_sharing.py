"""Who may be in an engine with whom, after engines died."""

from __future__ import annotations

import asyncio

import pytest

from windfall.result import Attempt, ErrorInfo
from windfall_worker.backends.sharing import Isolation, Sharing, allowed_sharing

DIED = Attempt(
    backend="mlx", started_at=1.0, outcome="lost", error=ErrorInfo(type="engine_died", message="the engine ended")
)
LOST = Attempt(
    backend="unknown", started_at=1.0, outcome="lost", error=ErrorInfo(type="worker_lost", message="not heard of")
)


@pytest.mark.parametrize(
    ("deliveries", "attempts", "expected"),
    [
        (1, [], Sharing.ANY),
        (1, [DIED, DIED], Sharing.ANY),
        (2, [DIED], Sharing.FEW),
        (2, [LOST], Sharing.ANY),
        (3, [LOST, LOST], Sharing.NONE),
        (3, [DIED, DIED], Sharing.NONE),
    ],
)
def test_the_past_of_a_job_says_with_whom_it_may_run(
    deliveries: int, attempts: list[Attempt], expected: Sharing
) -> None:
    assert allowed_sharing(deliveries, 3, attempts) is expected


class WatchedEngine:
    """An engine that notes who is inside."""

    def __init__(self, slots: int) -> None:
        self.isolation = Isolation(slots)
        self.inside: list[Sharing] = []
        self.seen: list[tuple[Sharing, ...]] = []

    async def visit(self, wanted: Sharing) -> None:
        async with self.isolation.enter(wanted):
            self.inside.append(wanted)
            self.seen.append(tuple(self.inside))
            await asyncio.sleep(0.001)
            self.inside.remove(wanted)


async def test_a_job_that_must_be_alone_is_and_the_others_go_on_after_it() -> None:
    engine = WatchedEngine(9)
    wanted = [Sharing.ANY, Sharing.NONE, Sharing.ANY, Sharing.NONE, Sharing.FEW] * 6
    await asyncio.wait_for(asyncio.gather(*map(engine.visit, wanted)), 60)
    assert len(engine.seen) == len(wanted)
    assert all(present == (Sharing.NONE,) for present in engine.seen if Sharing.NONE in present)


async def test_of_the_suspects_only_a_few_are_inside_beside_any_number_of_others() -> None:
    engine = WatchedEngine(9)
    await asyncio.gather(*map(engine.visit, [Sharing.FEW] * 12 + [Sharing.ANY] * 12))
    assert max(present.count(Sharing.FEW) for present in engine.seen) == 3
    assert max(len(present) for present in engine.seen) > 9


async def test_who_stops_waiting_to_be_alone_holds_nobody_up() -> None:
    engine = WatchedEngine(4)
    async with engine.isolation.enter(Sharing.ANY):
        waiting = asyncio.create_task(engine.visit(Sharing.NONE))
        await asyncio.sleep(0)
        behind = asyncio.create_task(engine.visit(Sharing.ANY))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait_for(behind, 60)
