"""The rows of a table as rows of an input file."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from windfall.errors import InvalidRequest
from windfall.formats.tables.question import Question
from windfall.formats.tables.table import Record, Table
from windfall.limits import size
from windfall.request import CompletionRequest, Route
from windfall.row import InvalidRow, Row

Condition = Callable[[Iterator[Record]], Iterator[bool]]


def row_name(number: int) -> str:
    """What the row with this number (from 1) is called: nothing in a table names its rows, so they may move."""
    return f"row-{number}"


@dataclass(frozen=True, slots=True)
class TableRows:
    """The requests that a question makes of a table: of its first `limit` rows, those that meet the condition."""

    table: Table
    question: Question
    max_row_bytes: int
    limit: int | None = None
    where: Condition | None = None

    @property
    def name(self) -> str:
        """The table as the user named it."""
        return str(self.table.path)

    @property
    def rereadable(self) -> bool:
        """A table can be read again."""
        return True

    def check(self) -> int:
        """Read the whole table once; returns the number of its rows. Raises `InvalidRequest`.

        A row that cannot be read is so reported before anything is asked.
        """
        count = 0
        for _ in self.records():
            count += 1
        if not count:
            raise InvalidRequest(f"{self.name} has no rows")
        return count

    def records(self) -> Iterator[Record]:
        """The rows of the table up to the limit."""
        return itertools.islice(self.table.records(), self.limit)

    def each(self) -> Iterator[Row | None]:
        """For each row of the table up to the limit what is asked, or None where nothing is."""
        meant = (True for _ in self.records()) if self.where is None else self.where(self.records())
        for number, (record, asked) in enumerate(zip(self.records(), meant, strict=True), 1):
            yield self._row(record, number) if asked else None

    def rows(self) -> Iterator[Row]:
        """What is asked, from the first row on."""
        return (row for row in self.each() if row is not None)

    def lanes(self, models: Collection[str]) -> Counter[tuple[str, Route]] | None:
        """How many rows ask for which lane of these models: all of a table's ask for the same."""
        found: Counter[tuple[str, Route]] = Counter()
        body = self.question.body
        if body["model"] in models:
            route = Route(body.get("route", Route.AUTO))
            found[body["model"], route] = sum(isinstance(row, CompletionRequest) for row in self.rows())
        return found

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Nothing has to be done for that."""
        yield

    def _row(self, record: Record, number: int) -> Row:
        name = row_name(number)
        try:
            request = self.question.request(record, name)
        except InvalidRequest as exc:
            return InvalidRow(name, number, InvalidRequest(exc.reason, line=number, field=exc.field))
        if sum(len(message.text()) for message in request.messages) > self.max_row_bytes:
            reason = f"the row is larger than {size(self.max_row_bytes)} (setting max_row_bytes)"
            return InvalidRow(name, number, InvalidRequest(reason, line=number))
        return request
