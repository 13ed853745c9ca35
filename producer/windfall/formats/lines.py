"""A stream of bytes as numbered lines, of which none can fill the memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

_BOM: Final = b"\xef\xbb\xbf"
_SKIPPED_AT_ONCE: Final = 1 << 16


class Lines(Protocol):
    """What lines are read from."""

    def readline(self, size: int, /) -> bytes:
        """The next line, or as much of it."""
        ...


def split_lines(stream: Lines, limit: int) -> Iterator[tuple[int, bytes | None]]:
    """Every line that is not blank, with its number (from 1) and without its line end.

    A line of more than `limit` bytes comes as None: what is beyond the limit is read in small pieces and never kept.
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
