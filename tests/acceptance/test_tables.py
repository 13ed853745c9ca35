"""A column of answers beside a column of text, typed by a user."""

from __future__ import annotations

from pathlib import Path

import pytest

from acceptance.commands import Shell, is_plain

ASK = ("--prompt", "Reverse: {word}", "--column", "reversed", "--model", "demo")


@pytest.fixture
def windfall(tmp_path: Path) -> Shell:
    (tmp_path / "words.csv").write_text('id,word\n007,horse\n8,"river"\n9,horse\n')
    return Shell(tmp_path)


def test_a_column_is_added_and_a_rerun_after_an_edit_asks_only_what_changed(windfall: Shell) -> None:
    done = windfall("run", "words.csv", "-o", "out.csv", *ASK)
    assert (done.code, done.out) == (0, ""), done.err
    assert "1 row asks what another asks, and has a copy of its answer" in done.err
    assert is_plain(done.err)
    lines = (windfall.folder / "out.csv").read_text().splitlines()
    assert lines[0] == "id,word,reversed"
    assert lines[1].startswith("007,horse,")
    assert lines[1].split(",")[2] == lines[3].split(",")[2]

    (windfall.folder / "words.csv").write_text("id,word\n1,garden\n007,horse\n8,river\n9,horse\n")
    again = windfall("run", "words.csv", "-o", "out.csv", *ASK)
    assert again.code == 0
    assert "3 rows are already in out.csv.answers.jsonl" in again.err
    assert (windfall.folder / "out.csv").read_text().splitlines()[2:] == lines[1:]

    fresh = windfall("run", "words.csv", "-o", "out.csv", "--fresh", *ASK)
    assert "moved to out.csv.answers.jsonl.old" in fresh.err


def test_a_dry_run_shows_prompts_and_asks_nothing(windfall: Shell) -> None:
    done = windfall("run", "words.csv", "-o", "out.csv", "--dry-run", "--limit", "2", *ASK)
    assert done.code == 0
    assert "user: Reverse: horse" in done.out
    assert "2 of 2 rows would be asked about" in done.out
    assert not (windfall.folder / "out.csv").exists()


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("words.csv", "-o", "out.jsonl", "--model", "demo"), "words.csv is a table, not a file of requests"),
        (("words.csv", "-o", "words.csv", *ASK), "is the input file"),
        (("words.csv", "-o", "-", *ASK), "a table needs a file for its answers"),
        (("words.csv", "-o", "out.csv", *ASK[2:], "--prompt", "{wrod}"), "did you mean {word}?"),
        (("words.csv", "-o", "out.csv", *ASK, "--column", "word"), "already has a column 'word'"),
        (("words.csv", "-o", "out.csv", *ASK, "--choices", "a,A"), "cannot be told apart"),
        (("words.csv", "-o", "out.csv", *ASK, "--schema", "none.json"), "no such file for --schema"),
        (("words.csv", "-o", "there.csv", *ASK), "was not written by this command"),
        (("in.jsonl", "-o", "out.jsonl", "--model", "demo", "--choices", "a"), "--choices is for tables"),
        (("none.csv", "-o", "out.csv", *ASK), "no such file: none.csv"),
        (("words.csv", "-o", "out.csv", *ASK, "--where", "length > "), "--where"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(windfall: Shell, args: tuple[str, ...], why: str) -> None:
    (windfall.folder / "there.csv").write_text("mine\n")
    before = sorted(path.name for path in windfall.folder.iterdir())
    done = windfall("run", *args)
    assert done.code != 0
    assert why in done.err
    assert len(done.err.splitlines()) == 1
    assert sorted(path.name for path in windfall.folder.iterdir()) == before
    assert (windfall.folder / "there.csv").read_text() == "mine\n"


def test_a_fleet_fills_a_table_and_a_new_prompt_asks_all_of_it_again(redis_url: str, tmp_path: Path) -> None:
    windfall = Shell(tmp_path, redis_url)
    (tmp_path / "words.csv").write_text("word\nhorse\nriver\n")
    command = ("submit", "words.csv", "--wait", "-o", "out.parquet", "--model", "small")
    with windfall.started("worker", "--simulate", "small=0"):
        first = windfall(*command, "--prompt", "Reverse: {word}")
        assert first.code == 0, first.err
        same = windfall(*command, "--prompt", "Reverse: {word}")
        assert "nothing was submitted" in same.err
        other = windfall(*command, "--prompt", "Upper case: {word}")
        assert other.code == 0, other.err
        assert "2 changed, 0 new" in other.err
    assert "name the model" in windfall("submit", "words.csv", "--prompt", "{word}", "--wait", "-o", "x.csv").err
