"""`windfall batches`, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acceptance.commands import Shell, named_rows
from helpers.waiting import until


@pytest.fixture
def windfall(tmp_path: Path, redis_url: str) -> Shell:
    return Shell(tmp_path, redis_url)


def test_all_batches_are_the_unfinished_ones_and_those_that_ended(windfall: Shell) -> None:
    assert windfall("batches", "--all").err == "there are no batches\n"
    windfall.write("in.jsonl", [*named_rows(3), {"messages": "none"}])
    for name in ("one", "two", "three"):
        windfall("submit", "in.jsonl", "--model", "m", "--batch-id", name)
    assert windfall("cancel", "one").code == 0
    with windfall.worker("--simulate", "m=0"):
        until(lambda: windfall("watch", "three").code == 3, "the end of batch three")
        until(lambda: windfall("watch", "two").code == 3, "the end of batch two")
    windfall("submit", "in.jsonl", "--model", "nobody", "--batch-id", "four")
    assert "two" not in windfall("batches").out
    lines = [line.split() for line in windfall("batches", "--all").out.splitlines()]
    assert lines[0][:3] == ["BATCH", "OWNER", "PROGRESS"]
    assert lines[1][0] == "four"
    ended = [line for line in lines if line and line[0] in ("one", "two", "three")]
    assert ended[-1][:4] == ["one", "cancelled", "4", "4"]  # cancelled rows count as failed
    assert {tuple(line[1:4]) for line in ended[:2]} == {("finished", "4", "1")}
    assert lines[3] == ["BATCH", "OWNER", "STATE", "ROWS", "FAILED", "TOOK", "ENDED", "KEPT", "FOR"]
    told = [json.loads(line) for line in windfall("batches", "--all", "--json").out.splitlines()]
    assert next((each["id"], each["state"]) for each in told) == ("four", "running")
    assert told[-1]["id"] == "one"


def test_the_list_is_bounded_and_says_how_to_see_more(windfall: Shell) -> None:
    windfall.write("in.jsonl", named_rows(1))
    for name in ("one", "two", "three"):
        windfall("submit", "in.jsonl", "--model", "m", "--batch-id", name)
        windfall("cancel", name)
    done = windfall("batches", "--all", "--limit", "2", "--json")
    assert [json.loads(line)["id"] for line in done.out.splitlines()] == ["three", "two"]
    assert done.err == "these are the 2 finished batches that ended last; --limit 20 shows more\n"
    assert windfall("batches", "--all", "--limit", "3").err == "there are no unfinished batches\n"


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--limit", "3"), 1, "--limit is for finished batches: it needs --all"),
        (("--all", "--limit", "0"), 2, "equal to 1"),
    ],
)
def test_a_wrong_limit_is_refused_in_one_sentence(
    windfall: Shell, flags: tuple[str, ...], code: int, said: str
) -> None:
    done = windfall("batches", *flags)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1
