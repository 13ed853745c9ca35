"""When a worker works: hours, power, heat and the user."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from windfall_worker.citizen.hours import Hours
from windfall_worker.citizen.readings import Readings, Thermal
from windfall_worker.citizen.rules import AboveBattery, BelowThermal, OnAC, OnlyHours, WhenIdle
from windfall_worker.citizen.settings import CitizenSettings

MONDAY = 5  # 2026-01-05 was one
NOON = datetime(2026, 1, MONDAY, 12, tzinfo=UTC)


def at(day: int, clock: str) -> datetime:
    hour, minute = map(int, clock.split(":"))
    return datetime(2026, 1, MONDAY + day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "day", "clock", "inside"),
    [
        ("09:00-17:00", 0, "08:59", False),
        ("09:00-17:00", 0, "09:00", True),
        ("09:00-17:00", 0, "16:59", True),
        ("09:00-17:00", 0, "17:00", False),
        ("20:00-08:00", 0, "19:59", False),
        ("20:00-08:00", 0, "20:00", True),
        ("20:00-08:00", 1, "00:00", True),
        ("20:00-08:00", 1, "07:59", True),
        ("20:00-08:00", 1, "08:00", False),
        ("20:00-24:00", 0, "23:59", True),
        ("20:00-24:00", 1, "00:00", False),
        # A window belongs to the day on which it begins.
        ("mon-fri 20:00-08:00", 4, "20:00", True),
        ("mon-fri 20:00-08:00", 5, "03:00", True),
        ("mon-fri 20:00-08:00", 5, "20:00", False),
        ("mon-fri 20:00-08:00", 0, "03:00", False),
        ("sat,sun", 5, "12:00", True),
        ("sat,sun", 4, "12:00", False),
        ("Sat, SUN 10:00 - 12:00", 6, "11:00", True),
        ("fri-mon", 0, "12:00", True),
        ("fri-mon", 2, "12:00", False),
        ("mon,wed-thu 8:00-9:00", 3, "08:30", True),
        ("mon,wed-thu 8:00-9:00", 1, "08:30", False),
    ],
)
def test_hours_hold_from_their_begin_to_their_end(text: str, day: int, clock: str, inside: object) -> None:
    assert Hours.parse(text).hold(at(day, clock)) is inside


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20:00",
        "25:00-08:00",
        "20:00-08:60",
        "24:00-08:00",
        "08:00-08:00",
        "mo",
        "mon-",
        "20:00-08:00 mon",
        "²0:00-08:00",
    ],
)
def test_what_are_no_hours_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"20:00-08:00"):
        Hours.parse(text)


@given(st.text())
def test_no_text_raises_anything_but_a_sentence(text: str) -> None:
    with contextlib.suppress(ValueError):
        Hours.parse(text)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in a zone that sets its clocks, without need of a time zone database."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_on_the_days_on_which_clocks_are_set_the_clock_on_the_wall_counts(berlin: None) -> None:
    def inside(text: str, utc: str) -> bool:
        return Hours.parse(text).hold(datetime.fromisoformat(f"{utc}+00:00").astimezone())

    # 2026-03-29: at 02:00 it becomes 03:00, which is 01:00 UTC.
    assert inside("01:00-02:30", "2026-03-29T00:59")
    assert not inside("01:00-02:30", "2026-03-29T01:00")
    assert inside("02:30-04:00", "2026-03-29T01:00")
    assert not inside("20:00-08:00", "2026-03-29T06:00")
    # 2026-10-25: the hour from 02:00 comes twice, at 00:00 and at 01:00 UTC.
    assert inside("02:00-03:00", "2026-10-25T00:30")
    assert inside("02:00-03:00", "2026-10-25T01:30")
    assert not inside("02:00-03:00", "2026-10-25T02:00")
    assert inside("20:00-08:00", "2026-10-25T06:59")


def test_several_hours_are_added_to_each_other() -> None:
    rule = OnlyHours((Hours.parse("mon-fri 20:00-08:00"), Hours.parse("sat,sun")))
    assert rule.against(Readings(), at(5, "12:00"), held=False) is None
    assert rule.against(Readings(), at(2, "12:00"), held=False) == "works mon-fri 20:00-08:00 and sat,sun"


def test_on_battery_no_new_jobs_are_taken() -> None:
    assert OnAC().against(Readings(on_ac=False), NOON, held=False) == "on battery"
    assert OnAC().against(Readings(on_ac=True), NOON, held=True) is None


@pytest.mark.parametrize(
    ("level", "held", "why"),
    [
        (0.40, False, None),
        (0.35, False, "battery at 35 %, below 40 %"),
        (0.29, False, "battery at 29 %, below 40 %"),
        (0.40, True, "battery at 40 %, resumes at 45 %"),
        (0.44, True, "battery at 44 %, resumes at 45 %"),
        (0.45, True, None),
    ],
)
def test_a_battery_that_was_too_low_must_come_five_points_above(level: float, held: object, why: str | None) -> None:
    assert AboveBattery(40).against(Readings(battery=level), NOON, held=bool(held)) == why


def test_heat_counts_from_the_limit_on() -> None:
    rule = BelowThermal(Thermal.SERIOUS)
    assert rule.against(Readings(thermal=Thermal.FAIR), NOON, held=False) is None
    said = rule.against(Readings(thermal=Thermal.CRITICAL), NOON, held=False)
    assert said == "thermal state critical, not below serious"


@pytest.mark.parametrize(
    ("idle", "why"),
    [
        (12.3, "the user was here 12 s ago, waits for 10 min"),
        (590, "the user was here 9.8 min ago, waits for 10 min"),
        (600, None),
    ],
)
def test_nobody_must_have_touched_it_for_so_long(idle: float, why: str | None) -> None:
    assert WhenIdle(600).against(Readings(idle_seconds=idle), NOON, held=False) == why


def test_what_cannot_be_told_holds_nothing_back() -> None:
    for rule in (OnAC(), AboveBattery(40), BelowThermal(Thermal.FAIR), WhenIdle(60)):
        assert rule.against(Readings(), NOON, held=False) is None
        assert rule.against(Readings(), NOON, held=True) is None


def test_settings_make_the_rules_that_are_set() -> None:
    assert CitizenSettings().rules == ()
    table = {"only": "20:00-08:00", "on_ac": True, "above_battery": 40, "below_thermal": "serious", "when_idle": "10m"}
    assert CitizenSettings.model_validate(table).rules == (
        OnlyHours((Hours.parse("20:00-08:00"),)),
        OnAC(),
        AboveBattery(40),
        BelowThermal(Thermal.SERIOUS),
        WhenIdle(600),
    )
    assert len(CitizenSettings.model_validate({"only": ["sat", "20:00-08:00"]}).only) == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("only", 7),
        ("only", ["sat", 7]),
        ("above_battery", 0),
        ("above_battery", 100),
        ("above_battery", float("nan")),
        ("below_thermal", "hot"),
        ("when_idle", "1w"),
        ("when_idle", 0),
    ],
)
def test_wrong_settings_are_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        CitizenSettings.model_validate({key: value})
