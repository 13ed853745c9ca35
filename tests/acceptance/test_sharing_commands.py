"""Owners, priorities and shares, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acceptance.commands import Shell, named_rows


@pytest.fixture
def windfall(tmp_path: Path, redis_url: str) -> Shell:
    shell = Shell(tmp_path, redis_url)
    shell.write("in.jsonl", named_rows(3))
    return shell


def test_owners_and_priorities_share_a_lane_and_fleet_shows_how(windfall: Shell) -> None:
    assert windfall("share").err == "every owner has a weight of 1\n"
    assert windfall("share", "ann", "3").out == "ann has a weight of 3\n"
    for name, *flags in (("a", "--owner", "ann"), ("b", "--priority", "2"), ("c",)):
        done = windfall("submit", "in.jsonl", "--model", "m", "--batch-id", name, *flags)
        assert done.code == 0, done.err
    lines = [line.split() for line in windfall("fleet").out.splitlines()]
    first = lines.index(["SHARED", "LANE", "ROUTE", "BATCH", "OWNER", "PRIORITY", "WAITING", "SHARE"])
    assert lines[first + 1 : first + 4] == [
        ["m", "auto", "b", "2", "3", "50", "%"],
        ["m", "auto", "a", "ann", "3", "38", "%"],
        ["m", "auto", "c", "3", "12", "%"],
    ]
    told = json.loads(windfall("fleet", "--json").out)["sharers"]
    assert [(each["batch"], each["owner"], each["share"]) for each in told] == [
        ("b", None, 0.5), ("a", "ann", 0.375), ("c", None, 0.125),
    ]  # fmt: skip
    batches = {line.split()[0]: line for line in windfall("batches").out.splitlines()}
    assert "ann" in batches["a"]
    assert json.loads(windfall("status", "a", "--json").out)["owner"] == "ann"
    assert windfall("share").out.split() == ["OWNER", "WEIGHT", "ann", "3"]
    assert json.loads(windfall("share", "--json").out) == {"ann": 3.0}
    assert windfall("share", "bob").out == "bob has a weight of 1\n"


def test_an_interactive_batch_goes_before_the_others(windfall: Shell) -> None:
    windfall("submit", "in.jsonl", "--model", "m", "--batch-id", "first")
    windfall("submit", "in.jsonl", "--model", "m", "--batch-id", "asked", "--interactive")
    assert json.loads(windfall("status", "asked", "--json").out)["interactive"] is True
    with windfall.worker("--simulate", "m=0.2", "--slots", "1"):
        assert windfall("watch", "first").code == 0
        assert windfall("watch", "asked").code == 0
    ends = [json.loads(line)["finished_at"] for line in windfall("batches", "--all", "--json").out.splitlines()]
    assert ends == sorted(ends, reverse=True)
    last = windfall("batches", "--all", "--limit", "1", "--json").out
    assert json.loads(last)["id"] == "first"


def test_a_batch_keeps_the_owner_that_it_was_opened_for(windfall: Shell) -> None:
    windfall("submit", "in.jsonl", "--model", "m", "--batch-id", "a", "--owner", "ann")
    again = windfall("submit", "in.jsonl", "--model", "m", "--batch-id", "a", "--owner", "bob")
    assert "batch a was opened for ann, and stays so: --owner bob is ignored" in again.err
    assert json.loads(windfall("status", "a", "--json").out)["owner"] == "ann"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("share", "a:b", "2"), "an owner is 1 to 128 characters without ':' or blanks, not 'a:b'"),
        (("share", "ann", "0"), "a weight is a number from 0.001 to 1000, not 0"),
        (("share", "ann", "lots"), "Invalid value for 'WEIGHT'"),
        (("submit", "in.jsonl", "--model", "m", "--owner", "a b"), "not 'a b'"),
        (("submit", "in.jsonl", "--model", "m", "--owner", ""), "not ''"),
        (("submit", "in.jsonl", "--model", "m", "--priority", "10"), "--priority"),
    ],
)
def test_a_name_or_a_number_that_cannot_be_is_refused_in_one_sentence(
    windfall: Shell, words: tuple[str, ...], said: str
) -> None:
    done = windfall(*words)
    assert done.code in (1, 2)
    assert done.out == ""
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert json.loads(windfall("fleet", "--json").out)["lanes"] == []
