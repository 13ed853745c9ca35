"""Opening a table, whatever its kind."""

from __future__ import annotations

from pathlib import Path

from windfall.errors import InvalidRequest
from windfall.formats.tables.delimited import DelimitedTable
from windfall.formats.tables.kind import TableKind, kind_of
from windfall.formats.tables.lines_of_text import check_encoding
from windfall.formats.tables.objects import ObjectTable
from windfall.formats.tables.parquet import ParquetTable
from windfall.formats.tables.table import Table
from windfall.limits import MAX_ROW_BYTES


def open_table(
    path: Path, *, told: TableKind | None = None, encoding: str = "utf-8", max_row_bytes: int = MAX_ROW_BYTES
) -> Table:
    """Open a table; `told` is its kind where its name does not say, and `encoding` is that of CSV and TSV.

    Raises `InvalidRequest` for a file that does not exist, is not of its kind, or has no columns.
    """
    if str(path) == "-":
        raise InvalidRequest("a table is read more than once, so it cannot come from a pipe; name a file")
    kind, encoding = kind_of(path, told), check_encoding(encoding)
    match kind:
        case TableKind.PARQUET:
            return ParquetTable(path)
        case TableKind.JSONL:
            return ObjectTable(path, max_row_bytes)
        case _:
            return DelimitedTable(path, kind, encoding, max_row_bytes)
