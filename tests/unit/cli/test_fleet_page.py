"""The page of the fleet at every size of terminal, from what a look brought."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from pictures.draw import view as real_view
from windfall import BatchStatus, Route
from windfall.cli.screen.fleet_page import FleetView, page, sections
from windfall.cli.screen.section import Column, Section, Share
from windfall.queue.fleet import FleetStatus, LaneStatus
from windfall.queue.workers import LostWorker, ServedModel, WorkerStatus
from windfall_worker.guards.circuit import BreakerStatus

NOW = 10_000.0


def lines(what: RenderableType, width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(what)
    return [line.rstrip() for line in capture.get().splitlines()]


def served(name: str = "small") -> ServedModel:
    return ServedModel(
        name=name, backends=("mlx",), slots=32, running=7, tokens_per_second=566.4, rates={Route.AUTO: 2.0}
    )


def worker(name: str, *, state: str = "running", why: str | None = None, models: int = 1) -> WorkerStatus:
    return WorkerStatus(
        id=f"{name}-30048-d2bd21", host=name, pid=1, state=state, why=why, started_at=NOW - 7300, seen_at=NOW - 0.4,
        version="0", models=tuple(served(f"small{n or ''}") for n in range(models)), completed=1234,
        chip="Apple M4 Pro", memory_bytes=48 << 30,
    )  # fmt: skip


def batch(name: str = "invoices", **fields: object) -> BatchStatus:
    counts = {"total": 10_000, "queued": 5900, "running": 64, "completed": 4000, "failed": 36, "sealed": True}
    times = {"created_at": NOW - 400, "first_started_at": NOW - 400, "now": NOW}
    return BatchStatus.model_validate({"id": name, **counts, **times, **fields})


def full() -> FleetView:
    lanes = (
        LaneStatus(model="small", route=Route.AUTO, queued=5900, running=14, waiting_since=NOW - 61, rate=4.0),
        LaneStatus(model="small", route=Route.CLOUD, queued=3, running=0, paused=True),
        LaneStatus(model="idle", route=Route.AUTO, queued=0, running=0),
    )
    workers = (worker("mini", state="paused", why="on battery"), worker("studio", models=2))
    breakers = [BreakerStatus("openai", "open", 5, 12.0)]
    return FleetView(
        FleetStatus(workers=workers, lanes=lanes, now=NOW), [batch(), batch("letters", paused=True, running=0)],
        breakers, {"openai": 3.0}, {"invoices": 20.0},
    )  # fmt: skip


def test_a_wide_page_shows_all_there_is() -> None:
    shown = lines(page(full(), 160), 160)
    assert shown[0] == "windfall fleet · 2 workers · 21 of 96 slots · 6.0 jobs/s · 1,699 tokens/s"
    text = "\n".join(re.sub(" +", " ", line) for line in shown)
    assert "mini-30048-d2bd21 paused small mlx 7/32 566 1,234 Apple M4 Pro 48 GiB 0.4 s 2 h 1 min" in text
    assert "mini-30048-d2bd21 is taking no new jobs: on battery" in text
    assert "small auto 5,900 14 61.0 s 4.0/s 24 min 38 s" in text
    assert "small cloud 3 0 paused" in text
    assert "idle auto" not in text
    assert re.search(r"invoices ━+.*━ 4,036/10,000 36 20.0/s 4 min 58 s", text)
    assert re.search(r"letters ━+.*━ 4,036/10,000 36 paused", text)
    assert "openai open 5 12.0 s 3.0 s" in text
    assert shown[-1] == "q or Ctrl-C quits"


def test_no_line_is_wider_than_the_terminal_and_none_wraps() -> None:
    wide = lines(page(full(), 200), 200)
    for width in range(30, 130):
        shown = lines(page(full(), width), width)
        assert max(map(cell_len, shown)) <= width
        assert len(shown) == len(wide)


def test_sixty_columns_keep_the_name_the_state_the_model_the_slots_and_what_is_left() -> None:
    shown = lines(page(full(), 60), 60)
    assert [line.split() for line in shown if line.startswith("WORKER")] == [
        ["WORKER", "STATE", "MODEL", "SLOTS", "TOKENS/S", "SEEN"]
    ]
    assert [line.split() for line in shown if line.startswith("LANE")] == [
        ["LANE", "ROUTE", "QUEUED", "RUNNING", "WAITED", "RATE", "LEFT"]
    ]
    assert "paused" in next(line for line in shown if line.startswith("mini"))
    assert next(line for line in shown if line.startswith("invoices")).endswith("4 min 58 s")


def test_columns_go_in_the_order_that_the_documentation_states() -> None:
    last: list[str] = []
    gone: list[str] = []
    for width in range(200, 40, -1):
        heads = next(line for line in lines(page(full(), width), width) if line.startswith("WORKER")).split()
        gone += [name for name in last if name not in heads]
        last = heads
    assert gone[:6] == ["UP", "DONE", "MEMORY", "CHIP", "BACKEND", "SEEN"]


def test_a_low_terminal_shortens_the_longest_list_and_says_so() -> None:
    many = replace(full(), batches=[batch(f"b{n}") for n in range(40)])
    for height in range(22, 50):
        shown = lines(page(many, 100, height), 100)
        assert len(shown) <= height
        assert shown[-1] == "q or Ctrl-C quits"
        (left_out,) = [int(line.split()[2]) for line in shown if line.startswith("… and ")]
        assert sum(re.match(r"b\d", line) is not None for line in shown) + left_out == 40


@pytest.mark.parametrize("reasons", [1, 20])
def test_a_low_terminal_with_many_paused_workers_still_shows_lanes_batches_and_the_last_line(reasons: int) -> None:
    many = tuple(worker(f"m{n}", state="paused", why=f"works 2{n % reasons}:00-08:00") for n in range(20))
    view = replace(full(), fleet=full().fleet.model_copy(update={"workers": many}))
    for height in (24, 30, 40):
        shown = lines(page(view, 100, height), 100)
        assert len(shown) <= height
        assert shown[-1] == "q or Ctrl-C quits"
        for start in ("m0", "small", "invoices", "openai"):
            assert any(line.startswith(start) for line in shown)
        told = [line for line in shown if "no new jobs" in line]
        more = [int(line.split()[2]) for line in shown if line.endswith(" more of these lines")]
        assert len(told) + sum(more) == reasons
        if reasons == 1:
            assert told[0].startswith("20 workers are taking no new jobs: works 20:00-08:00 (m0-30048-d2bd21, m1-")


def test_what_others_wrote_into_redis_does_not_reach_the_terminal_as_control_characters() -> None:
    evil = LaneStatus(model="a\x1b[31m\nb", route=Route.AUTO, queued=1, running=0)
    shown = lines(page(FleetView(FleetStatus(lanes=(evil,), now=NOW)), 80), 80)
    assert any(line.startswith(r"a\x1b[31m\nb") for line in shown)


def test_an_old_look_says_that_it_is_old() -> None:
    shown = lines(page(full().missing("not updated for 4.0 s; last known state below: it is away"), 60), 60)
    assert shown[1].startswith("not updated for 4.0 s; last known state below")
    assert any(line.startswith("mini") for line in shown)


def test_an_empty_fleet_says_how_to_start_a_worker() -> None:
    shown = lines(page(FleetView(FleetStatus(now=NOW)), 100), 100)
    assert "no worker is live; start one with windfall worker --model NAME=PATH" in shown
    assert sections(FleetView(FleetStatus(now=NOW))) == []


def test_in_a_pipe_every_column_is_there_as_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    for section in sections(full()):
        section.say()
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "━" not in out
    assert re.search(r"invoices +40 % +4,036/10,000 +36 +20\.0/s +4 min 58 s", out)
    assert out.startswith("WORKER")
    assert "PARKED" in out


def test_programs_get_all_of_it_as_one_object() -> None:
    told = json.loads(json.dumps(full().as_json()))
    assert told["lanes"][0]["eta"] == pytest.approx((5900 + 14) / 4)
    assert told["lanes"][1]["paused"] is True
    assert told["batches"][0]["finished"] == 4036
    assert told["breakers"][0]["state"] == "open"
    assert told["workers"][0]["chip"] == "Apple M4 Pro"


def test_the_bars_take_what_room_there_is() -> None:
    section = Section((Column("A"), Column("B")), [["x", Share(2, 2)]])
    assert [lines(section.fitted(width), width)[1].count("━") for width in (11, 21, 99)] == [8, 18, 40]


def test_a_real_look_fits_too() -> None:
    assert max(map(cell_len, lines(page(real_view(), 60, 24), 60))) <= 60


def test_a_lane_that_no_live_worker_serves_is_said_to_be_one() -> None:
    view = full()
    forgotten = LaneStatus(model="large", route=Route.AUTO, queued=60, running=0)
    fleet = view.fleet.model_copy(update={"lanes": (*view.fleet.lanes, forgotten)})
    shown = lines(page(FleetView(fleet), 100), 100)
    assert "no live worker serves large" in shown
    assert not any("serves small" in line for line in shown)


def test_a_worker_whose_heartbeat_is_late_says_so_and_is_not_counted_as_busy() -> None:
    fresh, late = worker("mini"), worker("studio").model_copy(update={"seen_at": NOW - 7.2})
    fleet = FleetStatus(workers=(fresh, late), now=NOW)
    shown = lines(page(FleetView(fleet), 200), 200)
    assert shown[0] == "windfall fleet · 2 workers · 7 of 64 slots · 2.0 jobs/s · 566 tokens/s"
    text = "\n".join(re.sub(" +", " ", line) for line in shown)
    assert "studio-30048-d2bd21 late small mlx ?/32 1,234" in text
    assert "studio-30048-d2bd21 has sent no heartbeat for 7.2 s: what it runs is unknown" in text
    assert [each["late"] for each in FleetView(fleet).as_json()["workers"]] == [False, True]
    just_in_time = late.model_copy(update={"seen_at": NOW - 4.9})
    assert "late" not in "\n".join(lines(page(FleetView(FleetStatus(workers=(just_in_time,), now=NOW)), 200), 200))


def test_a_worker_that_was_lost_stands_there_with_when_and_how_many_jobs_were_taken_over() -> None:
    at = NOW - 754
    lost = (
        LostWorker(id="mini-1-aaaaaa", seen_at=at, taken_over=8),
        LostWorker(id="book-2-bbbbbb", seen_at=at, asleep=True),
        LostWorker(id="air-3-cccccc", seen_at=at, taken_over=1),
    )
    when = time.strftime("%H:%M", time.localtime(at))
    fleet = FleetStatus(workers=(worker("studio"),), lost=lost, now=NOW)
    text = "\n".join(re.sub(" +", " ", line) for line in lines(page(FleetView(fleet), 200), 200))
    assert f"mini-1-aaaaaa lost {when} 12 min 34 s" in text
    assert f"mini-1-aaaaaa: lost {when}, 8 jobs taken over" in text
    assert f"air-3-cccccc: lost {when}, 1 job taken over" in text
    assert text.splitlines().count(f"book-2-bbbbbb: asleep since {when}") == 1
    assert text.startswith("windfall fleet · 1 worker · 7 of 32 slots")
    assert [each["taken_over"] for each in FleetView(fleet).as_json()["lost"]] == [8, 0, 1]


def test_many_lost_workers_do_not_fill_the_page() -> None:
    lost = tuple(LostWorker(id=f"mini-{n}-aaaaaa", seen_at=NOW - n) for n in range(1, 60))
    shown = lines(page(FleetView(FleetStatus(lost=lost, now=NOW)), 100), 100)
    assert len(shown) < 20
    assert "54 more were lost within the last hour" in shown
