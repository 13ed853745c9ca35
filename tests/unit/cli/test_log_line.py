"""What `windfall worker logs` shows in a terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from windfall.cli.screen.log_line import readable


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_a_line_of_json_becomes_a_line_for_people() -> None:
    fields = {"time": "2026-11-23T07:22:23.204982Z", "level": "warning", "event": "gone", "logger": "x", "job": "b:7"}
    assert readable(json.dumps(fields)) == "2026-11-23 07:22:23 warning  gone  job=b:7"


def test_a_traceback_stands_below_its_line() -> None:
    fields = {
        "time": "2026-11-23T07:22:23Z",
        "level": "error",
        "event": "a bug",
        "exception": "Traceback:\n  ValueError",
    }
    assert readable(json.dumps(fields)) == "2026-11-23 07:22:23 error    a bug\nTraceback:\n  ValueError"


@pytest.mark.parametrize(
    "line", ["2026-11-23 ready", "", "7", '"x"', "[1]", '{"time": 7, "event": "x"}', '{"event": "x"}']
)
def test_any_other_line_stays(line: str) -> None:
    assert readable(line) == line


def test_no_line_moves_the_cursor() -> None:
    assert readable("a\x1b[2Jb") == "a\\x1b[2Jb"
    assert "\x1b" not in readable(json.dumps({"time": "2026-11-23T07:22:23Z", "event": "\x1b[2J", "job": "\x1b"}))
