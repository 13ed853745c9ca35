"""A command starts without what only others need."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import typer

from windfall.cli.app import app

NAMES = typer.main.get_group(app).list_commands(typer.Context(typer.main.get_group(app)))


def _resolved(name: str) -> Any:
    group = typer.main.get_group(app)
    return group.get_command(typer.Context(group), name)


@pytest.mark.parametrize("name", NAMES)
def test_a_command_of_the_help_is_there_and_says_what_it_does(name: str) -> None:
    command = _resolved(name)
    assert command.name == name
    assert command.get_short_help_str()


def test_a_name_that_is_no_command_is_none() -> None:
    assert _resolved("stauts") is None


def test_a_command_imports_neither_the_others_nor_what_draws_in_a_terminal() -> None:
    listed = subprocess.run(
        [sys.executable, "-c", "import sys\nimport windfall.cli.app\nimport windfall.cli.poll\nprint(*sys.modules)"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert "windfall.cli.poll" in listed
    for absent in ("windfall.cli.run", "windfall.cli.worker", "windfall.checks.server", "rich.console"):
        assert absent not in listed
