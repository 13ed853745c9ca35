"""A worker of a machine that somebody uses: its flags, its settings, and how to see why it is paused."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from acceptance.commands import Shell, named_rows
from helpers.waiting import until

WORKER = ("--simulate", "small=0", "--name", "book")


@pytest.fixture
def windfall(tmp_path: Path, redis_url: str) -> Shell:
    shell = Shell(tmp_path, redis_url)
    shell.write("in.jsonl", named_rows(3))
    return shell


def another_hour() -> str:
    """An hour of this machine in which no test runs."""
    begin = datetime.now(UTC).astimezone() + timedelta(hours=3)
    return f"{begin:%H:%M}-{begin + timedelta(hours=1):%H:%M}"


def the_worker(windfall: Shell) -> dict[str, Any]:
    workers = json.loads(windfall("fleet", "--json").out)["workers"]
    found: dict[str, Any] = workers[0] if workers else {"state": None}
    return found


def test_outside_its_hours_a_worker_takes_nothing_and_says_why_to_the_fleet(windfall: Shell) -> None:
    hours = another_hour()
    with windfall.started("worker", *WORKER, "--only", hours, "--only", f"mon-sun {hours}") as process:
        until(lambda: the_worker(windfall)["state"] == "paused", "a paused worker")
        assert the_worker(windfall)["why"] == f"works {hours} and mon-sun {hours}"
        assert f"is taking no new jobs: works {hours}" in windfall("fleet").out
        batch_id = windfall("submit", "in.jsonl", "--model", "small").out.strip()
        # Another worker does what this one leaves.
        with windfall.worker("--simulate", "small=0", "--name", "mini"):
            assert windfall("watch", batch_id).out.splitlines()[-1] == "3 rows: 3 completed"
        assert the_worker(windfall)["completed"] == 0
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
        assert process.returncode == 0
        assert f"paused: works {hours}" in said.decode()


def test_the_settings_file_has_the_same_keys_and_a_flag_wins_over_it(windfall: Shell) -> None:
    path = windfall.folder / "windfall.toml"
    path.write_text(f'[worker]\nonly = "{another_hour()}"\nwhen_idle = "10m"\n')
    with windfall.worker(*WORKER, "--only", "00:00-24:00"):
        batch_id = windfall("submit", "in.jsonl", "--model", "small").out.strip()
        assert windfall("watch", batch_id).out.splitlines()[-1] == "3 rows: 3 completed"
    path.write_text('[worker]\nonli = "sat"\n')
    done = windfall("worker", *WORKER)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "onli: unknown field; did you mean 'only'?" in done.err


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--only", "25:00-08:00", "'25:00-08:00' are not hours of a day: these go from 00:00 to 24:00"),
        ("--only", "moon", "days are mon, tue, wed, thu, fri, sat, sun; write 20:00-08:00"),
        ("--above-battery", "140", "must be a percentage from 1 to 95, such as 40, not 140"),
        ("--below-thermal", "hot", "must be 'fair', 'serious' or 'critical', not 'hot'"),
        ("--when-idle", "1w", "'1w' is not a duration: write 90s, 15m, 8h, 7d or a number"),
    ],
)
def test_a_wrong_value_is_told_of_in_one_sentence(windfall: Shell, flag: str, value: str, said: str) -> None:
    done = windfall("worker", *WORKER, flag, value)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert said in done.err
