"""Why nothing moves: one sentence with what to do."""

from __future__ import annotations

import pytest

from windfall import Route
from windfall.cli.standstill import reasons
from windfall.queue.asked_lanes import Lane
from windfall.queue.fleet import FleetStatus, LaneStatus
from windfall.queue.workers import WorkerStatus

NOW = 1000.0
AUTO, LOCAL, CLOUD = (("small", route) for route in (Route.AUTO, Route.LOCAL, Route.CLOUD))


def worker(
    name: str, *backends: str, local: bool = True, served: dict[str, object] | None = None, **about: object
) -> WorkerStatus:
    facts = {"host": name, "pid": 1, "state": "running", "started_at": 0, "seen_at": NOW - 1, "version": "0"}
    model = {"name": "small", "backends": backends or ("mlx",), "local": local, "slots": 4, **(served or {})}
    more = {"spill": "no-mac", "spill_after": 60.0, **about}
    return WorkerStatus.model_validate({"id": name, "models": [model], **facts, **more})


def cloud(name: str = "cloud", **about: object) -> WorkerStatus:
    return worker(name, "openai", local=False, **about)  # type: ignore[arg-type]


MAC = worker("mac")
ON_BATTERY = worker("book", state="paused", why="on battery")
ORDERED = worker("mini", state="paused", why="paused by windfall pause")
LATE = worker("studio", seen_at=NOW - 7)
CLOSED = cloud(served={"unavailable": ("openai",)})
DOWN = worker("mac", served={"unavailable": ("mlx",)})
FULL = worker("mac", served={"running": 4})
PAUSED_LANE = LaneStatus(model="small", route=Route.AUTO, queued=3, running=0, paused=True)


@pytest.mark.parametrize(
    ("workers", "lane", "sentence"),
    [
        ((), AUTO, "no live worker serves small: start one with windfall worker --model small=PATH"),
        (
            (cloud(),),
            LOCAL,
            (
                "no live Mac serves small, and jobs of route local go nowhere else: "
                "start one with windfall worker --model small=PATH"
            ),
        ),
        (
            (MAC,),
            CLOUD,
            "no live worker has a cloud mapping for small: start one with windfall worker --cloud small=PROVIDER:MODEL",
        ),
        ((LATE,), AUTO, "no worker that serves small has sent a heartbeat for 7.0 s: studio"),
        ((LATE, ON_BATTERY), AUTO, "the only worker that serves small takes no new jobs (book: on battery)"),
        (
            (ORDERED, ON_BATTERY),
            AUTO,
            (
                "none of the 2 workers that serve small takes any new jobs "
                "(mini: paused by windfall pause; book: on battery); to resume it: windfall resume worker mini"
            ),
        ),
        (
            (CLOSED, MAC),
            CLOUD,
            (
                "every endpoint of small refuses calls or asked for a pause (openai): "
                "windfall breaker list says until when"
            ),
        ),
        (
            (DOWN, ON_BATTERY),
            AUTO,
            "the engine of small is down on mac: it restarts by itself, and the worker's log says why",
        ),
        ((cloud(),), AUTO, "no live Mac serves small: after 60 s without one, its jobs go to openai"),
        ((FULL,), AUTO, "all 4 slots for small are busy with other jobs: these wait for their turn"),
        ((cloud(), FULL), AUTO, None),  # the cloud's slots are free, and these jobs just came
        ((MAC,), AUTO, None),
        ((MAC,), LOCAL, None),
        ((worker("mac", "mlx", "openai", served={"unavailable": ("mlx",)}),), CLOUD, None),
    ],
)
def test_a_reason_says_what_to_do(workers: tuple[WorkerStatus, ...], lane: Lane, sentence: str | None) -> None:
    assert reasons(FleetStatus(workers=workers, now=NOW), {lane: 3}) == ([] if sentence is None else [sentence])


def test_a_paused_lane_comes_before_everything_else() -> None:
    fleet = FleetStatus(lanes=(PAUSED_LANE,), now=NOW)
    assert reasons(fleet, {AUTO: 3}) == [
        "the lane of small (auto) is paused; to resume it: windfall resume lane small --route auto"
    ]


def test_every_lane_has_its_reason_and_equal_ones_are_said_once() -> None:
    fleet = FleetStatus(workers=(worker("mac", served={"name": "large"}),), now=NOW)
    found = reasons(fleet, {AUTO: 1, LOCAL: 1, CLOUD: 1, ("large", Route.AUTO): 1})
    assert [sentence.partition(":")[0] for sentence in found] == [
        "no live worker serves small",
        "no live worker has a cloud mapping for small",
    ]


def test_what_was_claimed_before_and_waits_was_put_back() -> None:
    fleet = FleetStatus(workers=(MAC,), now=NOW)
    assert reasons(fleet, {AUTO: 0, LOCAL: 0}) == [
        "they were put back for a while, after a failure or because a backend asked for a pause"
    ]
    assert reasons(fleet, {AUTO: 0, LOCAL: 1}) == []
    assert reasons(fleet, {}) == []
