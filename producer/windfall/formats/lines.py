"""Reading a byte stream as numbered lines, with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

_BOM: Final = b"\xef\xbb\xbf"
_SKIPPED_AT_ONCE: Final = 1 << 16


class Lines(Protocol):
    """A source of lines."""

    def readline(self, size: int, /) -> bytes:
        """The next line, or at most `limit` bytes of it."""
        ...


def split_lines(stream: Lines, limit: int) -> Iterator[tuple[int, bytes | None]]:
    """Every line that is not blank, with its number (from 1) and without its line ending.

    A line of more than `limit` bytes is yielded as None: its excess is read in small pieces and discarded.
    """
    number = 0
    while data := stream.readline(limit + 2):  # room for \r\n
        number += 1
        ended = data.endswith(b"\n")
        line = data.rstrip(b"\r\n")
        if number == 1:
            line = line.removeprefix(_BOM)
        del data
        if len(line) > limit:
            del line
            if not ended:
                _skip_rest(stream)
            yield number, None
        elif line.strip():
            yield number, line


def _skip_rest(stream: Lines) -> None:
    while piece := stream.readline(_SKIPPED_AT_ONCE):
        if piece.endswith(b"\n"):
            return
