"""Rows that ask what another row asks: one of them runs, and the others get copies of its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from windfall.fingerprint import fingerprint
from windfall.formats.digests import Digests
from windfall.formats.matching import Key, key_of_row
from windfall.formats.output_file import OutputFile
from windfall.request import CompletionRequest
from windfall.row import Row

_PAGE: Final = 500  # copies that are written at once


def is_deterministic(request: CompletionRequest) -> bool:
    """Whether the same request is meant to get the same answer again."""
    return request.temperature == 0 or request.seed is not None


class Twins:
    """Passes on one of each set of equal requests, and gives the others its answer in the end.

    Requests count as equal if they have the same fingerprint and are deterministic, or if `any_request` is set. `key`
    is what answers are matched by.
    """

    def __init__(self, key: Key, *, any_request: bool = False) -> None:
        self.copies = 0  #: rows that were not passed on
        self._key = key
        self._any = any_request
        self._asked = Digests()

    def note_answered(self, lines: Iterable[dict[str, Any]]) -> None:
        """Note answers that exist already: their requests need not run again."""
        for line in lines:
            if asked := self._asked_by(line):
                self._asked.add(asked)

    def first_of_each(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows that have to run."""
        for row in rows:
            asked = self._fingerprint(row)
            if asked is None or self._asked.add(asked):
                yield row
            else:
                self.copies += 1

    def copy(self, rows: Callable[[], Iterator[Row]], out: OutputFile) -> int:
        """Write the lines that the file lacks as copies; returns how many there were.

        A copy has the name of its row, and says in `windfall.copied_from` whose answer it is.
        """
        wanted = {asked for row in rows() if not out.has(key_of_row(row)) and (asked := self._fingerprint(row))}
        answers: dict[str, dict[str, Any]] = {}
        for line in out.lines() if wanted else ():
            if (asked := self._asked_by(line)) in wanted:
                answers.setdefault(asked, line)
        written = 0
        page: list[dict[str, Any]] = []
        for row in rows() if answers else ():
            asked = self._fingerprint(row)
            if asked not in answers or out.has(key_of_row(row)):
                continue
            page.append(_copy(answers[asked], str(row.custom_id)))
            written += 1
            if len(page) == _PAGE:
                out.write_rows(page)
                page = []
        out.write_rows(page)
        return written

    def _fingerprint(self, row: Row) -> str | None:
        if not isinstance(row, CompletionRequest) or not (self._any or is_deterministic(row)):
            return None
        return fingerprint(row)

    def _asked_by(self, line: dict[str, Any]) -> str:
        return self._key(line).partition("\0")[2]


def _copy(line: dict[str, Any], name: str) -> dict[str, Any]:
    ours = dict(line.get("windfall") or {})
    origin = ours.get("copied_from") or line["custom_id"]
    return line | {"custom_id": name, "windfall": ours | {"copied_from": origin}}
