"""The gate: any reason shuts it, the last one lifted opens it."""

from __future__ import annotations

from windfall_worker.control import Gate


def test_it_is_open_while_nobody_has_a_reason() -> None:
    gate = Gate()
    assert gate.open
    assert gate.why is None


def test_it_opens_when_the_last_reason_is_lifted() -> None:
    gate = Gate()
    assert gate.shut("power", "on battery")
    assert not gate.shut("hours", "works from 20:00 to 08:00")
    assert gate.why == "on battery; works from 20:00 to 08:00"
    assert not gate.lift("power")
    assert gate.lift("hours")
    assert gate.open


def test_a_reason_may_change_its_words() -> None:
    gate = Gate()
    gate.shut("power", "battery at 40 %")
    gate.shut("power", "battery at 39 %")
    assert gate.why == "battery at 39 %"


def test_who_had_no_reason_lifts_none() -> None:
    gate = Gate()
    assert not gate.lift("power")
