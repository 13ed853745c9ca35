"""Printing: rich in a terminal, plain lines without control characters anywhere else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from windfall.broker.connection import without_passwords
from windfall.errors import ConfigError
from windfall.telemetry.visible import visible, visible_json


def say(text: str = "") -> None:
    """Print a line of output to stdout: verbatim in a pipe, without control codes in a terminal."""
    sys.stdout.write(f"{visible(text) if sys.stdout.isatty() else text}\n")
    sys.stdout.flush()


def say_json(value: Any) -> None:
    """Print a JSON object on its own line."""
    say(visible_json(json.dumps(value, ensure_ascii=False)))


def note(text: str) -> None:
    """Print a remark for people to stderr."""
    sys.stderr.write(f"{visible(without_passwords(text))}\n")
    sys.stderr.flush()


def complain(text: str) -> None:
    """Say why a command failed."""
    note("windfall: " + " ".join(text.split()))


def say_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print a table; columns in `right` hold numbers. Control characters in cells are escaped."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich import box  # noqa: PLC0415 - a tenth of a light command's start, and for terminals alone
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(column, justify="right" if column in right else "left", overflow="fold")
        for row in cells:
            table.add_row(*(Text(cell, _style(cell)) for cell in row))
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [list(columns), *cells]:
        padded = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, cell, width in zip(columns, row, widths, strict=True)
        ]
        say("  ".join(padded).rstrip())


def printable(text: str) -> str:
    """The text on one line, with control characters escaped."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def named_number(text: str, flag: str) -> tuple[str, float]:
    """Split `NAME=NUMBER`. Raises `ConfigError`."""
    name, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not name or not 0 <= value < float("inf"):
        raise ConfigError(f"{flag} takes NAME=SECONDS, such as {flag} test=0.1, not {text!r}")
    return name, value


def _style(cell: str) -> str:
    return {"✓": "green", "✗": "red"}.get(cell, "")
