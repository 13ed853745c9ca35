"""How fast something goes, and how a bar says so."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from windfall import BatchStatus
from windfall.cli.screen.batch_facts import Paces, pace_of
from windfall.cli.screen.pace import Pace
from windfall.cli.screen.progress import RowProgress, RowsDone


def test_a_pace_is_that_of_the_last_half_minute() -> None:
    pace = Pace()
    pace.note(0, 0)
    assert pace.at(0.1) is None
    for second in range(1, 200):
        pace.note(second, second * (10 if second < 100 else 2) + (0 if second < 100 else 800))
    assert pace.at(199) == pytest.approx(2, rel=0.1)
    assert pace.at(229) == pytest.approx(1, rel=0.1)  # nothing has come since


def test_a_pause_does_not_count_and_neither_does_what_is_run_again() -> None:
    pace = Pace()
    pace.note(0, 0)
    pace.note(10, 100)
    pace.stop()
    pace.note(1000, 100)
    pace.note(1010, 150)
    assert pace.at(1010) == 5
    pace.note(1011, 90)
    pace.note(1013, 100)
    assert pace.at(1013) == 5


def test_the_time_left_follows_the_pace_of_late_and_a_paused_batch_has_none() -> None:
    paces = Paces()
    look = BatchStatus(
        id="b", total=100, queued=85, running=5, completed=10, created_at=0, first_started_at=0, now=1000.0
    )
    assert pace_of(look, paces.of(look)) == (0.01, 9000)
    assert pace_of(look.model_copy(update={"running": 0, "queued": 90}), None) == (None, None)
    paces.note(look)
    later = look.model_copy(update={"now": 1010.0, "queued": 65, "completed": 30})
    paces.note(later)
    assert pace_of(later, paces.of(later)) == (2, 35)
    paused = later.model_copy(update={"paused": True, "running": 0, "queued": 70})
    assert pace_of(paused, paces.of(later)) == (None, None)


def test_a_batch_that_is_there_no_longer_is_forgotten() -> None:
    paces = Paces()
    old = BatchStatus(id="old", total=9, running=9, created_at=0, now=1000.0)
    paces.note(old)
    paces.note(old.model_copy(update={"id": "new"}))
    assert paces.of(old.model_copy(update={"now": 1010.0})) is None


def test_a_watched_batch_goes_on_at_its_old_pace_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("windfall.cli.screen.progress.time.monotonic", lambda: now)
    progress = RowProgress("batch b")
    progress.begin("batch b")
    for _ in range(20):
        now += 1
        progress.update(int(now - 1000) * 10, 2000, 0)
    progress.update(200, 2000, 0, paused=True)
    now += 2
    progress.update(210, 2000, 0, paused=True)  # what ran when it was paused
    now += 3600
    progress.update(210, 2000, 0)
    for row in range(1, 12):
        now += 1
        progress.update(210 + row * 10, 2000, 0)
    (bar,) = drawn(progress, 100)
    assert "10.0 rows/s" in bar


def drawn(rows: RowsDone | RowProgress, width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(rows.drawn(width))
    return capture.get().splitlines()


def test_a_bar_never_wraps() -> None:
    rows = RowsDone("batch 7c174f940de7", 1234, 10_000, 12, 37.5, remark="failed: 7 rate_limited, 5 worker_lost" * 3)
    for width in range(30, 130):
        bar, remark = drawn(rows, width)
        assert cell_len(bar) <= width
        assert cell_len(remark) <= width


def test_a_bar_says_the_rate_and_what_is_left_as_far_as_there_is_room() -> None:
    rows = RowsDone("batch b", 1234, 10_000, 12, 37.5)
    said = [" ".join(re.sub("[━╸╺]", "", drawn(rows, width)[0]).split()) for width in (100, 60, 40)]
    assert said == [
        "batch b 1,234/10,000 37.5 rows/s 3 min 54 s left 12 failed",
        "batch b 1,234/10,000 3 min 54 s left 12 failed",
        "batch b 1,234/10,000 12 failed",
    ]
    paused = drawn(RowsDone("batch b", 1, 2, paused=True), 60)[0]
    assert paused.endswith("1/2 paused")
