"""The answers to the rows of a table, from the file that they were written to in the order in which they came."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from pydantic_core import from_json

from windfall.row import Row

_NAME: Final = re.compile(rb'"custom_id":"row-([1-9][0-9]{0,11})"')

Line = dict[str, Any]


class AnswersByRow:
    """Finds the line of a row by its number, and takes it only if it answers the row's very request.

    `key_of_row` and `key_of_line` tell that. It keeps eight bytes a row; the lines stay in the file.
    """

    def __init__(self, path: Path, key_of_row: Callable[[Row], str], key_of_line: Callable[[Line], str]) -> None:
        self._path = path
        self._key_of_row = key_of_row
        self._key_of_line = key_of_line
        self._places = array("q")
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self._file = self._path.open("rb")
        place = 0
        for line in self._file:
            if found := _NAME.search(line):
                self._note(int(found[1]), place)
            place += len(line)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def of(self, row: Row, number: int) -> Line | None:
        """The line that answers this row, or None."""
        if self._file is None or number >= len(self._places) or self._places[number] < 0:
            return None
        self._file.seek(self._places[number])
        line: Line = from_json(self._file.readline())
        return line if self._key_of_line(line) == self._key_of_row(row) else None

    def _note(self, number: int, place: int) -> None:
        missing = number + 1 - len(self._places)
        if missing > 0:
            self._places.extend(array("q", [-1]) * max(missing, len(self._places) // 8))
        self._places[number] = place
