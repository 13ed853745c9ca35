"""Conditions on rows, as SQL expressions over the columns: `stars > 3 AND text <> ''`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Final

from windfall.errors import InvalidRequest
from windfall.formats.tables.parquet import first_line, need_polars
from windfall.formats.tables.table import Record, Table

_BATCH: Final = 5000
_LOOKED_AT: Final = 10_000


class SqlCondition:
    """Which rows meet an SQL expression. Columns of text that hold nothing but numbers are compared as numbers.

    Raises `InvalidRequest` if it cannot be parsed, or does not fit the columns.
    """

    def __init__(self, text: str, table: Table) -> None:
        self._polars = need_polars("--where")
        self._text = text
        self._errors = (self._polars.exceptions.PolarsError, TypeError, ValueError)
        try:
            self._expression = self._polars.sql_expr(text)
        except self._errors as exc:
            raise self._wrong(exc) from None
        head = list(itertools.islice(table.records(), _LOOKED_AT))
        self._types = self._numeric(head, table.columns)
        list(self(iter(head)))

    def __call__(self, records: Iterator[Record]) -> Iterator[bool]:
        while batch := list(itertools.islice(records, _BATCH)):
            try:
                frame = self._polars.DataFrame(batch, infer_schema_length=None).with_columns(
                    *(self._polars.col(name).cast(kind, strict=False) for name, kind in self._types.items())
                )
                yield from frame.select(meets=self._expression.fill_null(value=False))["meets"].cast(bool)
            except self._errors as exc:
                raise self._wrong(exc) from None

    def _numeric(self, head: list[Record], columns: tuple[str, ...]) -> Mapping[str, Any]:
        found = {}
        for column in columns:
            values = [record.get(column) for record in head]
            if any(not isinstance(value, str) for value in values):
                continue
            filled = self._polars.Series([value or None for value in values], dtype=self._polars.String)
            for kind in (self._polars.Int64, self._polars.Float64):
                if (
                    filled.null_count() < len(filled)
                    and filled.cast(kind, strict=False).null_count() == filled.null_count()
                ):
                    found[column] = kind
                    break
        return found

    def _wrong(self, exc: Exception) -> InvalidRequest:
        return InvalidRequest(f"--where {self._text!r} cannot be evaluated: {first_line(exc)}")
