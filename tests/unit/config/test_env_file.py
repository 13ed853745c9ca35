"""The file with a worker's keys: who may read it, and what it may hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from windfall.config.env_file import into_environment, read_env_file
from windfall.config.private import create_private
from windfall.errors import ConfigError


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / "worker.env"


def test_keys_are_read_as_they_stand_and_never_shown(env_file: Path) -> None:
    create_private(env_file, "# keys\n\nOPENAI_API_KEY=sk-a$b#c\nexport QUOTED='two words'\nEMPTY=\n")
    found = read_env_file(env_file)
    assert {name: value.get_secret_value() for name, value in found.items()} == {
        "OPENAI_API_KEY": "sk-a$b#c", "QUOTED": "two words", "EMPTY": "",
    }  # fmt: skip
    assert "sk-a" not in repr(found)


def test_what_is_set_already_wins(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET_BEFORE", "shell")
    monkeypatch.setenv("ONLY_IN_FILE", "")
    monkeypatch.delenv("ONLY_IN_FILE")
    create_private(env_file, "SET_BEFORE=file\nONLY_IN_FILE=file\n")
    into_environment(read_env_file(env_file))
    assert (os.environ["SET_BEFORE"], os.environ["ONLY_IN_FILE"]) == ("shell", "file")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_open_is_refused_with_the_command_that_mends_it(env_file: Path, mode: int) -> None:
    create_private(env_file, "")
    env_file.chmod(mode)
    with pytest.raises(ConfigError, match=f"others can read it; run: chmod 600 {env_file}"):
        read_env_file(env_file)


@pytest.mark.parametrize("line", ["sk-secret", "OPENAI_API_KEY sk-secret", "KEY='sk-secret"])
def test_a_wrong_line_is_named_by_its_number_and_not_quoted(env_file: Path, line: str) -> None:
    create_private(env_file, f"# keys\nA=b\n{line}\n")
    with pytest.raises(ConfigError, match=r"worker\.env, line 3: not KEY=VALUE") as caught:
        read_env_file(env_file)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there_is_told_of(env_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*worker\.env: No such file"):
        read_env_file(env_file)


def test_a_new_file_is_its_users_alone_from_the_start(env_file: Path) -> None:
    create_private(env_file, "A=b\n")
    assert env_file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        create_private(env_file, "")
