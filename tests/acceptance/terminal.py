"""A terminal in which `windfall …` is typed, and what its screen shows."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pexpect
import pyte

from acceptance.commands import Shell
from helpers.waiting import PATIENCE


class Terminal:
    """A command in a terminal of `columns` times `lines` characters."""

    def __init__(self, process: Any, columns: int, lines: int) -> None:
        self.process = process
        self.raw = b""
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def lines(self) -> list[str]:
        """What the screen shows, without the blanks at the ends of its lines."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The same in one."""
        return "\n".join(self.lines)

    def line(self, start: str) -> str:
        """The one line that begins so, or an empty one."""
        return next((line for line in self.lines if line.startswith(start)), "")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Read what the command writes until the screen shows what is wanted."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{what}: not within {PATIENCE:g} s; the screen shows\n{self.text}"
            self.read()

    def read(self) -> None:
        """Take in what the command writes within a moment."""
        try:
            data: bytes = self.process.read_nonblocking(65536, timeout=0.1)
        except pexpect.TIMEOUT:
            return
        except pexpect.EOF:
            assert self.process.isalive() or self.process.wait() is not None
            raise AssertionError(f"the command has ended; the screen shows\n{self.text}") from None
        self.raw += data
        self._stream.feed(data)

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size."""
        self._screen.resize(lines, columns)
        self.process.setwinsize(lines, columns)

    def ended(self) -> int:
        """Wait until the command has ended; returns its exit code."""
        self.raw += self.process.read()
        self.process.close()
        code: int = self.process.exitstatus
        return code


@contextmanager
def terminal(shell: Shell, *args: str, columns: int = 120, lines: int = 40) -> Iterator[Terminal]:
    """Type a command into a terminal; it is killed at the end, if it still runs."""
    spawn: Any = pexpect.spawn  # pexpect is untyped
    process = spawn(
        sys.executable, ["-m", "windfall", *args], cwd=str(shell.folder), timeout=PATIENCE, dimensions=(lines, columns),
        env={**shell.environment, "TERM": "xterm-256color"},
    )  # fmt: skip
    try:
        yield Terminal(process, columns, lines)
    finally:
        process.close(force=True)
