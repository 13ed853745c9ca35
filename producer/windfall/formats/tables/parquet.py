"""Parquet, with Polars: streamed in batches, every type as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from windfall.errors import InvalidRequest
from windfall.formats.tables.kind import TableKind
from windfall.formats.tables.lines_of_text import readable
from windfall.formats.tables.table import Record, check_columns
from windfall.runtime.extras import how_to_install

if TYPE_CHECKING:
    import polars as pl

#: Rows that are in memory at a time.
_BATCH: Final = 20_000


def need_polars(what: str) -> Any:
    """The package Polars. Raises `InvalidRequest`, saying what needs it, if it is not installed."""
    try:
        import polars  # noqa: ICN001, PLC0415 - an extra
    except ModuleNotFoundError:
        raise InvalidRequest(f"{what} needs the tables extra: {how_to_install('tables')}") from None
    return polars


class ParquetTable:
    """A Parquet file."""

    kind = TableKind.PARQUET

    def __init__(self, path: Path) -> None:
        self.path = path
        self._polars = need_polars(f"reading {path}")
        with readable(path), path.open("rb"):
            pass
        try:
            self.columns = tuple(self.frame().collect_schema().names())
        except (self._polars.exceptions.PolarsError, OSError) as exc:
            raise InvalidRequest(f"{path} is not Parquet, or cut off: {first_line(exc)}") from None
        check_columns(self.columns, path)

    def frame(self) -> pl.LazyFrame:
        """The file as a lazy frame."""
        frame: pl.LazyFrame = self._polars.scan_parquet(self.path, glob=False)
        return frame

    def records(self) -> Iterator[Record]:
        """Its rows, with values of Python's types."""
        try:
            for batch in self.frame().collect_batches(chunk_size=_BATCH, maintain_order=True):
                yield from batch.iter_rows(named=True)
        except (self._polars.exceptions.PolarsError, OSError) as exc:
            raise InvalidRequest(f"{self.path} cannot be read: {first_line(exc)}") from None


def first_line(exc: Exception) -> str:
    """The first line of an error message; Polars adds its whole plan below."""
    return (str(exc).splitlines() or ["unknown"])[0]
