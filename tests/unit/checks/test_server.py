"""What the doctor says of the workers and the lanes of a fleet."""

from __future__ import annotations

from windfall.checks.server import workers_in_words
from windfall.queue.fleet import FleetStatus, LaneStatus
from windfall.queue.workers import ServedModel, WorkerStatus
from windfall.request import Route

SMALL = ServedModel(name="small", backends=("mlx",), slots=32)
MINI = WorkerStatus(
    id="mini-1-a", host="mini", pid=1, state="running", started_at=0, seen_at=0, version="0", models=(SMALL,)
)


def test_who_serves_what_is_told() -> None:
    assert workers_in_words(FleetStatus(workers=(MINI,), now=1)) == "1 live worker serves small"
    assert workers_in_words(FleetStatus(now=1)) == "no worker is live yet"


def test_what_keeps_rows_waiting_is_told_too() -> None:
    lanes = (
        LaneStatus(model="small", route=Route.AUTO, queued=3, running=0, paused=True),
        LaneStatus(model="large", route=Route.LOCAL, queued=60, running=0),
    )
    resting = MINI.model_copy(update={"state": "paused"})
    assert workers_in_words(FleetStatus(workers=(resting,), lanes=lanes, now=1)) == (
        "1 live worker serves small; paused: mini-1-a (windfall fleet says why); paused lanes: small (auto); "
        "rows wait for large, which no worker serves"
    )
