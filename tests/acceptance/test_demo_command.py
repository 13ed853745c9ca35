"""`windfall demo` in a pipe and in a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pexpect

from acceptance.commands import Shell, is_plain
from helpers.waiting import PATIENCE


def test_in_a_pipe_the_demo_is_plain_text_and_names_its_files(tmp_path: Path) -> None:
    windfall = Shell(tmp_path)
    done = windfall("demo")
    assert done.code == 0, done.err
    assert is_plain(done.out + done.err)
    lines = done.out.splitlines()
    assert lines[0].split() == ["TASK", "PROMPT", "ANSWER", "RIGHT"]
    assert sum(line.endswith("✓") for line in lines) > 30
    assert "tokens/s" in lines[-2]
    assert lines[-1] == "the requests are in windfall-demo/requests.jsonl, the results in windfall-demo/results.jsonl"
    assert len(windfall.rows("windfall-demo/results.jsonl")) == 60


def test_in_a_terminal_the_demo_has_a_progress_bar_and_a_table(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    spawn: Any = pexpect.spawn  # pexpect is untyped
    terminal = spawn(
        sys.executable, ["-m", "windfall", "demo"], cwd=str(tmp_path), timeout=PATIENCE, dimensions=(60, 120),
        env={**shell.environment, "TERM": "xterm-256color"},
    )  # fmt: skip
    terminal.expect(b"60/60")
    terminal.expect(b"rows/s")
    terminal.expect("✓".encode())
    terminal.expect(b"60 answers are right")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
