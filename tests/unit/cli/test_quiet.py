"""A log that repeats itself is cut short."""

from __future__ import annotations

import logging

import pytest

from windfall.cli.screen.quiet import Repeats


def test_a_message_is_said_once_whatever_its_numbers_and_then_with_how_often_it_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("windfall.cli.screen.quiet.time.monotonic", lambda: now)
    repeats = Repeats()

    def record(number: int) -> logging.LogRecord:
        return logging.LogRecord("windfall", logging.WARNING, "", 1, "away for the %d. time", (number,), None)

    assert [repeats.filter(record(n)) for n in range(5)] == [True, False, False, False, False]
    other = logging.LogRecord("windfall", logging.WARNING, "", 1, "something else", (), None)
    assert repeats.filter(other)
    now += 31
    again = record(5)
    assert repeats.filter(again)
    assert again.getMessage() == "away for the 5. time (repeated 4 more times before this)"


def test_lines_of_other_programs_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("windfall.cli.screen.quiet.time.monotonic", lambda: now)
    repeats = Repeats()
    for number in range(5000):
        record = logging.LogRecord("windfall.engine.words", logging.WARNING, "", 1, f"step {number}", (), None)
        assert repeats.filter(record)
        now += 0.01
    assert len(repeats._said) <= 1000
    last = logging.LogRecord("windfall.engine.words", logging.WARNING, "", 1, "step 4999", (), None)
    assert not repeats.filter(last)


def test_what_was_asked_for_and_what_is_to_be_said_each_time_is_not_cut() -> None:
    repeats = Repeats()
    for level, each in ((logging.INFO, False), (logging.WARNING, True)):
        record = logging.LogRecord("windfall", level, "", 1, "job %s", ("b:1",), None)
        record.each = each
        assert [repeats.filter(logging.makeLogRecord(vars(record))) for _ in range(3)] == [True] * 3
