"""Showing the end of a log, and following it."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

_LOOK: Final = 0.2  # seconds between two looks


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a file, without line endings."""
    with path.open("rb") as file:
        return [_text(line) for line in deque(file, maxlen=count)]


def follow(path: Path, count: int) -> Iterator[str]:
    """The last lines, then each new one, until cancelled; after a rotation the new file is followed.

    A line that is being written is yielded once it is complete.
    """
    file = path.open("rb")
    try:
        yield from deque(_whole_lines(file), maxlen=count)
        while True:
            yield from _whole_lines(file)
            if _replaced(path, file):
                # Lines written between the last look and the rotation are still in the old file.
                yield from _whole_lines(file)
                file.close()
                file = path.open("rb")
            else:
                time.sleep(_LOOK)
    finally:
        file.close()


def _whole_lines(file: IO[bytes]) -> Iterator[str]:
    while True:
        at = file.tell()
        line = file.readline()
        if not line.endswith(b"\n"):
            file.seek(at)
            return
        yield _text(line)


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\n")


def _replaced(path: Path, file: IO[bytes]) -> bool:
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False  # the old file has been renamed, and the new one does not exist yet
