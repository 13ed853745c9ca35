"""What every kind of table offers to its reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from windfall.errors import InvalidRequest
from windfall.formats.tables.kind import TableKind

#: A row: its values by column.
Record = Mapping[str, Any]

#: A table with more columns is probably not one (a matrix, a wrong separator).
_MOST_COLUMNS: Final = 10_000


class Table(Protocol):
    """A table in a file, readable as often as needed, in constant memory."""

    path: Path
    kind: TableKind
    columns: tuple[str, ...]  #: for JSONL, those of its first rows

    def records(self) -> Iterator[Record]:
        """Its rows from the first on. Raises `InvalidRequest` at one that cannot be read."""
        ...


def check_columns(columns: tuple[str, ...], name: Path) -> None:
    """Raise `InvalidRequest` if the columns cannot be told apart, or are too many."""
    if not columns:
        raise InvalidRequest(f"{name} is empty")
    if len(columns) > _MOST_COLUMNS:
        raise InvalidRequest(f"{name} has {len(columns):,} columns; at most {_MOST_COLUMNS:,} can be read")
    seen: set[str] = set()
    for column in columns:
        if column in seen:
            raise InvalidRequest(f"{name} has two columns called {column!r}; rename one of them")
        seen.add(column)
