"""CSV and TSV. Every value is text, and is written back as it stood."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from windfall.errors import InvalidRequest
from windfall.formats.tables.kind import TableKind
from windfall.formats.tables.lines_of_text import opened_text, refuse_utf16
from windfall.formats.tables.table import Record, check_columns

#: Rows that are joined into one list of lines before they are parsed: `csv` reads line by line.
_BOM: Final = "\ufeff"


class DelimitedTable:
    """A CSV or TSV file with a header. A CSV file may use semicolons: what its header uses more of is its delimiter."""

    def __init__(self, path: Path, kind: TableKind, encoding: str, max_row_bytes: int) -> None:
        self.path = path
        self.kind = kind
        self.encoding = encoding
        csv.field_size_limit(max_row_bytes)
        refuse_utf16(path, encoding)
        with opened_text(path, encoding) as text:
            first = text.readline(1 << 20)
            self.line_ending = "\r\n" if first.endswith("\r\n") else "\n"
            self.delimiter = "\t" if kind is TableKind.TSV else _delimiter(first)
        self.columns = self._header()
        check_columns(self.columns, path)

    def records(self) -> Iterator[Record]:
        """Its rows. Raises `InvalidRequest` at a row with more or fewer values than the header."""
        columns = self.columns
        for values in self.rows():
            yield dict(zip(columns, values, strict=True))

    def rows(self) -> Iterator[list[str]]:
        """Its rows without the names of the columns."""
        width = len(self.columns)
        with opened_text(self.path, self.encoding) as text:
            reader = self._reader(text)
            _next(reader, self.path)
            while (values := _next(reader, self.path)) is not None:
                if len(values) == width:
                    yield values
                elif values:
                    raise InvalidRequest(
                        f"line {reader.line_num} of {self.path} has {len(values)} values, and the header {width}; "
                        "is a quotation mark missing, or the delimiter another?"
                    )
                elif width == 1:
                    yield [""]  # what an empty value in the only column looks like

    def _header(self) -> tuple[str, ...]:
        with opened_text(self.path, self.encoding) as text:
            found = _next(self._reader(text), self.path)
        return tuple(found or ())

    def _reader(self, text: IO[str]) -> Any:
        return csv.reader(text, delimiter=self.delimiter, strict=True)


def _next(reader: Any, path: Path) -> list[str] | None:
    try:
        found: list[str] | None = next(reader, None)
    except csv.Error as exc:
        raise InvalidRequest(f"line {reader.line_num} of {path} is not valid CSV: {exc}") from None
    return found


def _delimiter(header: str) -> str:
    return ";" if header.count(";") > header.count(",") else ","
