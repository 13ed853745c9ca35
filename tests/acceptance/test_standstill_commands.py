"""`windfall status` and `windfall watch` say why nothing moves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acceptance.commands import Shell, named_rows
from faultserver import FaultServer
from helpers.waiting import until


@pytest.fixture
def windfall(tmp_path: Path, redis_url: str) -> Shell:
    shell = Shell(tmp_path, redis_url)
    shell.write("in.jsonl", named_rows(3))
    return shell


def waits(windfall: Shell, name: str) -> list[str]:
    """What both outputs of `status` say; the fleet may move on between the two, but not every time."""

    def twice_the_same() -> tuple[list[str]] | None:
        lines = windfall("status", name).out.splitlines()
        said = [line.removeprefix("waits   ") for line in lines if line.startswith("waits   ")]
        return (said,) if json.loads(windfall("status", name, "--json").out)["waiting_for"] == said else None

    found: tuple[list[str]] = until(twice_the_same, "the same reasons in both outputs")
    return found[0]


def test_status_says_what_a_batch_waits_for_until_it_moves(windfall: Shell) -> None:
    batch = windfall("submit", "in.jsonl", "--model", "m").out.strip()
    nobody = ["no live worker serves m: start one with windfall worker --model m=PATH"]
    assert waits(windfall, batch) == nobody
    assert waits(windfall, f"{batch}:2") == nobody
    windfall("pause", "batch", batch)
    assert waits(windfall, batch) == [f"the batch is paused; to resume it: windfall resume batch {batch}"]
    assert waits(windfall, f"{batch}:2") == [f"its batch is paused; to resume it: windfall resume batch {batch}"]
    windfall("resume", "batch", batch)
    windfall("pause", "lane", "m")
    (paused,) = waits(windfall, batch)
    assert paused == "the lane of m (auto) is paused; to resume it: windfall resume lane m --route auto"
    with windfall.worker("--simulate", "m=600", "--name", "mini", "--drain-timeout", "0"):
        windfall("pause", "worker", "mini")
        assert windfall(*paused.partition("windfall ")[2].split()).code == 0
        until(lambda: "takes no new jobs" in "".join(waits(windfall, batch)), "the worker's pause")
        (said,) = waits(windfall, batch)
        assert windfall(*said.partition("to resume it: windfall ")[2].split()).code == 0
        until(lambda: json.loads(windfall("status", batch, "--json").out)["running"] == 3, "three running rows")
        assert waits(windfall, batch) == []


def test_watch_says_it_once_and_goes_on(windfall: Shell) -> None:
    batch = windfall("submit", "in.jsonl", "--model", "m").out.strip()
    with windfall.started("watch", batch) as watching:
        assert watching.stdout is not None
        first = watching.stdout.readline().decode()
        assert first == "3 rows: 3 queued; no live worker serves m: start one with windfall worker --model m=PATH\n"
        with windfall.worker("--simulate", "m=0"):
            rest = watching.stdout.read().decode().splitlines()
            assert watching.wait() == 0
    assert rest[-1].startswith("3 rows: 3 completed")


def test_open_breakers_are_told_of(windfall: Shell, fault_server: FaultServer, model: str) -> None:
    fault_server.plan(model, then={"status": 500})
    (windfall.folder / "windfall.toml").write_text(
        f"""
[models.m]
cloud = ["test:{model}"]

[providers.test]
protocol = "openai"
base_url = {json.dumps(fault_server.url)}
max_retries = 0
breaker = {{ fail_max = 1, reset_timeout = 300 }}
"""
    )
    batch = windfall("submit", "in.jsonl", "--model", "m", "--route", "cloud").out.strip()
    with windfall.worker():
        sentence = (
            "every endpoint of m refuses calls or asked for a pause (test): windfall breaker list says until when"
        )
        until(lambda: waits(windfall, batch) == [sentence], "the open breaker")
