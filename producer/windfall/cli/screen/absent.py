"""What a person should know of workers that are not at work: paused, late, asleep and lost ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from windfall.cli.screen.console import duration
from windfall.queue.fleet import FleetStatus
from windfall.queue.workers import LostWorker

#: Lost workers shown: one that dies at every start would fill the page.
_MOST: Final = 5


def lost_rows(fleet: FleetStatus) -> list[list[str]]:
    """A row for each worker that was lost lately, with the columns of the live ones."""
    return [
        [each.id, _state(each), *[""] * 7, duration(max(0.0, fleet.now - each.seen_at)), ""]
        for each in fleet.lost[:_MOST]
    ]


def worker_notes(fleet: FleetStatus) -> list[str]:
    """The remarks below the workers."""
    return [*_paused(fleet), *_late(fleet), *_lost(fleet)]


def _paused(fleet: FleetStatus) -> Iterator[str]:
    """One line per reason: at noon many workers wait for the same hours."""
    ids: dict[str, list[str]] = {}
    for worker in fleet.workers:
        if worker.why:
            ids.setdefault(worker.why, []).append(worker.id)
    for why, who in ids.items():
        if len(who) > 1:
            yield f"{len(who)} workers are taking no new jobs: {why} ({', '.join(who)})"
        else:
            yield f"{who[0]} is taking no new jobs: {why}"


def _late(fleet: FleetStatus) -> Iterator[str]:
    for worker in fleet.workers:
        if (since := fleet.late(worker)) is not None:
            yield f"{worker.id} has sent no heartbeat for {duration(since)}: what it runs is unknown"


def _lost(fleet: FleetStatus) -> Iterator[str]:
    for each in fleet.lost[:_MOST]:
        jobs = "1 job" if each.taken_over == 1 else f"{each.taken_over:,} jobs"
        yield f"{each.id}: {_state(each)}" + (f", {jobs} taken over" if each.taken_over or not each.asleep else "")
    if len(fleet.lost) > _MOST:
        yield f"{len(fleet.lost) - _MOST} more were lost within the last hour"


def _state(each: LostWorker) -> str:
    """With the time of its last heartbeat by this machine's clock: when was it that somebody pulled the plug?"""
    at = time.strftime("%H:%M", time.localtime(each.seen_at))
    return f"asleep since {at}" if each.asleep else f"lost {at}"
