"""What the command line prints, and what it must not."""

from __future__ import annotations

import sys

import pytest

from windfall.cli import main
from windfall.cli.screen.console import duration, printable, say_table
from windfall.errors import ConfigError


def test_a_table_in_a_pipe_is_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(("NAME", "N"), [("a\x1b[31m\n", "1"), ("bb", "100")], right=("N",))
    assert capsys.readouterr().out == "NAME           N\na\\x1b[31m\\n    1\nbb           100\n"


def test_control_characters_are_written_out() -> None:
    assert printable("a\x1b]0;b\x07é✓") == "a\\x1b]0;b\\x07é✓"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (99.9, "99.9 s"), (125, "2 min 5 s"), (7260, "2 h 1 min")]
)
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr(sys, "argv", ["windfall", *args])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("windfall")


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "demo",
        "submit",
        "status",
        "watch",
        "results",
        "result",
        "cancel",
        "retry",
        "batches",
        "pause",
        "resume",
        "drain",
        "worker",
        "fleet",
        "doctor",
    ],
)
def test_every_command_has_a_help_text(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, command, "--help") == 0
    assert "Usage:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nosuch"], "No such command 'nosuch'"),
        (["status"], "Missing argument 'ID'"),
        (["submit", "in", "--priority", "11"], "'--priority'"),
        (["fleet", "--nosuch"], "No such option"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    args: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *args) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.startswith("windfall: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("module", ["windfall_worker", "mlx_lm"])
def test_without_the_worker_package_it_says_which_extra_to_install(module: str) -> None:
    from windfall.cli.models import worker_package  # noqa: PLC0415 - what is tested is an import

    with pytest.raises(ConfigError, match=r'pip install "windfall-llm\[worker\]"'), worker_package():
        raise ModuleNotFoundError(name=module)
