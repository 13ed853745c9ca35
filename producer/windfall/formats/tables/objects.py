"""JSONL of objects: each line is a row, and its fields are its columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic_core import from_json

from windfall.errors import InvalidRequest
from windfall.formats.lines import split_lines
from windfall.formats.tables.kind import TableKind
from windfall.formats.tables.lines_of_text import opened_bytes, refuse_utf16
from windfall.formats.tables.table import Record, check_columns
from windfall.limits import size

#: Rows whose fields together are the columns that a template may name.
_LOOKED_AT: Final = 1000


class ObjectTable:
    """A JSONL file of objects. They need not have the same fields."""

    kind = TableKind.JSONL

    def __init__(self, path: Path, max_row_bytes: int) -> None:
        self.path = path
        self._limit = max_row_bytes
        refuse_utf16(path, "utf-8")
        columns: dict[str, None] = {}
        for number, record in enumerate(self.records()):
            if number == _LOOKED_AT:
                break
            columns |= dict.fromkeys(record)
        self.columns = tuple(columns)
        check_columns(self.columns, path)

    def records(self) -> Iterator[Record]:
        """Its objects. Raises `InvalidRequest` at a line that is not one."""
        with opened_bytes(self.path) as file:
            for line, data in split_lines(file, self._limit):
                if data is None:
                    raise InvalidRequest(
                        f"line {line} of {self.path} is larger than {size(self._limit)} (setting max_row_bytes)"
                    )
                yield self._object(line, data)

    def _object(self, line: int, data: bytes) -> Record:
        try:
            record = from_json(data, allow_inf_nan=False)
        except ValueError as exc:
            hint = "; a JSON array is turned into JSONL by jq -c '.[]'" if data.lstrip()[:1] == b"[" else ""
            why = str(exc).replace("at line 1 column", "at column")
            raise InvalidRequest(f"line {line} of {self.path} is not a JSON object: {why}{hint}") from None
        if not isinstance(record, dict):
            hint = "; a JSON array is turned into JSONL by jq -c '.[]'" if isinstance(record, list) else ""
            raise InvalidRequest(f"line {line} of {self.path} is not a JSON object{hint}")
        return record
