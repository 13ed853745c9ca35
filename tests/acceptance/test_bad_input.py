"""Whatever is wrong: one sentence, an exit code, no traceback, and never a password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from acceptance.commands import Shell, named_rows

NOWHERE = "redis://:s3cret@127.0.0.1:1"


@pytest.fixture
def windfall(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path)
    shell.write("in.jsonl", named_rows(3))
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "no-model").mkdir()
    (tmp_path / "notes.txt").write_text("not to be lost")
    return shell


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("run none.jsonl -o out.jsonl --model demo", "no such file: none.jsonl"),
        ("run no-model -o out.jsonl --model demo", "cannot read no-model: Is a directory"),
        ("run empty.jsonl -o out.jsonl --model demo", "empty.jsonl is empty"),
        ("run in.jsonl -o in.jsonl --model demo", "in.jsonl is the input"),
        ("run in.jsonl -o no/out.jsonl --model demo", "cannot write to no/out.jsonl: No such file or directory"),
        ("run in.jsonl -o no-model --model demo", "cannot write to no-model: Is a directory"),
        ("run in.jsonl -o notes.txt --model demo", "line 1 of notes.txt is not an output line"),
        ("run in.jsonl -o out.jsonl --model nosuch", "'nosuch' is neither a folder nor a Hugging Face name"),
        ("run in.jsonl -o out.jsonl --model no-model", "no-model is a folder but not a model"),
        ("run in.jsonl -o out.jsonl --model no/such/folder", "no/such/folder: there is no such folder"),
        ("submit in.jsonl -o out.jsonl", "--output needs --wait"),
        ("submit in.jsonl --batch-id a:b", "a batch id is 1 to 128 characters without ':' or blanks, not 'a:b'"),
        ("worker", "name at least one model"),
        ("worker --simulate small", "--simulate takes NAME=SECONDS"),
        ("worker --model small=", "--model takes NAME=PATH_OR_REPOSITORY"),
        ("worker --simulate a=1 --simulate a=2", "model 'a' is named twice"),
        ("status x --config none.toml", "settings file none.toml not found"),
        (f"submit in.jsonl --model m --redis {NOWHERE}", "Redis at redis://:***@127.0.0.1:1 cannot be reached"),
        (f"status x --redis {NOWHERE}", "Redis at redis://:***@127.0.0.1:1 cannot be reached"),
        (f"fleet --redis {NOWHERE}", "Redis at redis://:***@127.0.0.1:1 cannot be reached"),
        (f"worker --simulate a=1 --redis {NOWHERE}", "Redis at redis://:***@127.0.0.1:1 cannot be reached"),
        ("status x --redis nonsense://:s3cret@host", "is not a Redis URL"),
    ],
)
def test_it_is_told_in_one_sentence(windfall: Shell, command: str, said: str) -> None:
    done = windfall(*command.split())
    assert done.code == 1
    assert said in done.err
    last = done.err.splitlines()[-1]
    assert last.startswith("windfall: ")
    assert "s3cret" not in done.out + done.err
    assert (windfall.folder / "notes.txt").read_text() == "not to be lost"
    assert len((windfall.folder / "in.jsonl").read_bytes().splitlines()) == 3


@pytest.mark.parametrize("command", ["status", "watch", "results", "result", "cancel", "retry"])
def test_an_id_that_nobody_has_is_told_of(tmp_path: Path, redis_url: str, command: str) -> None:
    done = Shell(tmp_path, redis_url)(command, "nosuch")
    assert done.code == 1
    assert "'nosuch'" in done.err
    assert done.err.count("\n") == 1


@pytest.fixture
def guarded(redis_url: str) -> Iterator[str]:
    """The Redis with a password on it."""
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("requirepass", "s3cret")
    address = redis_url.removeprefix("redis://")
    yield address
    with redis.Redis.from_url(f"redis://:s3cret@{address}") as client:
        client.config_set("requirepass", "")


def test_a_wrong_or_missing_password_is_told_of_and_none_is_printed(windfall: Shell, guarded: str) -> None:
    for user in (":wr0ng@", ""):
        done = windfall("submit", "in.jsonl", "--model", "m", "--redis", f"redis://{user}{guarded}")
        assert done.code == 1
        assert "password" in done.err
        assert "wr0ng" not in done.out + done.err


def test_a_right_password_is_never_printed(windfall: Shell, guarded: str) -> None:
    right = f"redis://:s3cret@{guarded}"
    for command in (["submit", "in.jsonl", "--model", "m"], ["fleet"], ["doctor"]):
        assert "s3cret" not in str(windfall(*command, "--redis", right))
    with windfall.started("worker", "--simulate", "m=0", "--redis", right) as process:
        assert process.stderr is not None
        warning, beginning = process.stderr.readline(), process.stderr.readline()
        assert b"can read the password in --redis" in warning
        assert f"from redis://:***@{guarded}; Ctrl-C drains".encode() in beginning
        assert b"s3cret" not in warning + beginning
