"""The keeper: it pauses while a rule is against new jobs, and does not flap."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from windfall_worker.citizen.hours import Hours
from windfall_worker.citizen.keeper import Keeper, local_now
from windfall_worker.citizen.readings import FakeSensors, Readings, Thermal
from windfall_worker.citizen.rules import AboveBattery, BelowThermal, OnAC, OnlyHours, Rule


class Watched:
    """A keeper with a clock of the test's own, and what it said last (None: nothing is against new jobs)."""

    def __init__(self, *rules: Rule) -> None:
        self.sensors = FakeSensors()
        self.why: str | None = "never looked"
        self.seconds = 0.0
        self._keeper = Keeper(rules, self.sensors, self._pause, self._resume)

    def _pause(self, why: str) -> None:
        self.why = why

    def _resume(self) -> None:
        self.why = None

    async def sees(self, readings: Readings, after: float = 5.0) -> str | None:
        self.seconds += after
        self.sensors.readings = readings
        await self._keeper.look(lambda: datetime(2026, 1, 5, 12, tzinfo=UTC), lambda: self.seconds)
        return self.why


async def test_it_pauses_with_every_reason_and_resumes_without() -> None:
    watched = Watched(OnAC(), AboveBattery(40))
    assert await watched.sees(Readings(on_ac=True, battery=0.8)) is None
    assert await watched.sees(Readings(on_ac=False, battery=0.8)) == "on battery"
    assert await watched.sees(Readings(on_ac=False, battery=0.39)) == "on battery; battery at 39 %, below 40 %"
    assert await watched.sees(Readings(on_ac=True, battery=0.41)) == "battery at 41 %, resumes at 45 %"
    assert await watched.sees(Readings(on_ac=True, battery=0.45)) is None
    assert await watched.sees(Readings(on_ac=True, battery=0.41)) is None


async def test_a_machine_that_was_too_hot_must_stay_cool_for_a_minute() -> None:
    watched = Watched(BelowThermal(Thermal.SERIOUS))
    hot, cool = Readings(thermal=Thermal.SERIOUS), Readings(thermal=Thermal.FAIR)
    assert await watched.sees(cool) is None
    assert await watched.sees(hot) == "thermal state serious, not below serious"
    assert await watched.sees(cool, after=5) == "thermal state serious, not below serious, until a moment ago"
    assert await watched.sees(hot, after=50) == "thermal state serious, not below serious"
    assert await watched.sees(cool, after=5) is not None
    assert await watched.sees(cool, after=59) is not None
    assert await watched.sees(cool, after=1) is None


async def test_what_it_cannot_tell_holds_nothing_back_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(OnAC(), AboveBattery(40))
    for _ in range(5):
        assert await watched.sees(Readings(on_ac=True)) is None
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert said == ["--above-battery has no effect: this machine does not report what the rule depends on"]


async def test_a_reading_that_fails_now_and_then_changes_nothing() -> None:
    watched = Watched(OnAC())
    assert await watched.sees(Readings(on_ac=False)) == "on battery"
    for _ in range(3):
        assert await watched.sees(Readings()) == "on battery"
    assert await watched.sees(Readings(on_ac=False)) == "on battery"
    for _ in range(3):
        assert await watched.sees(Readings()) == "on battery"
    assert await watched.sees(Readings()) is None


async def test_without_a_rule_that_goes_by_them_the_sensors_are_left_alone() -> None:
    watched = Watched(OnlyHours((Hours.parse("00:00-24:00"),)))
    assert await watched.sees(Readings()) is None
    assert watched.sensors.looks == 0


async def test_the_sensors_are_asked_for_what_the_rules_go_by_and_for_nothing_else() -> None:
    watched = Watched(OnAC(), BelowThermal(Thermal.SERIOUS))
    await watched.sees(Readings(on_ac=True))
    assert watched.sensors.wanted == {"on_ac", "thermal"}


def test_the_time_of_day_is_that_of_this_machine() -> None:
    assert local_now().utcoffset() is not None
