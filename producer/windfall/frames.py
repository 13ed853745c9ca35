"""Frames of other libraries, and lists of dictionaries, as tables: their rows, and themselves with more columns."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from windfall.errors import InvalidRequest
from windfall.formats.tables import AnswerColumns
from windfall.result import CompletionResult


class Frame(Protocol):
    """A table in memory."""

    columns: tuple[str, ...]
    records: Sequence[Mapping[str, Any]]

    def with_columns(self, values: Mapping[str, Sequence[Any]]) -> Any:
        """A copy of the frame with these columns."""


def frame_of(table: Any) -> Frame:
    """The table in any of its kinds. Raises `InvalidRequest` for anything else."""
    # Whoever has such a frame has imported its package.
    if isinstance(table, getattr(sys.modules.get("polars"), "DataFrame", ())):
        return _Polars(table)
    if isinstance(table, getattr(sys.modules.get("pandas"), "DataFrame", ())):
        return _Pandas(table)
    if isinstance(table, list) and all(isinstance(row, Mapping) for row in table):
        return _Dictionaries(table)
    raise InvalidRequest(
        f"a table is a Polars or pandas DataFrame or a list of dictionaries, not {type(table).__name__}"
        + ("; collect the LazyFrame first" if type(table).__name__ == "LazyFrame" else "")
    )


def answer_values(answer: AnswerColumns, results: Sequence[CompletionResult]) -> dict[str, list[Any]]:
    """The values of the answer columns; the column of errors is there only if a row has one."""
    rows: list[tuple[Any, ...]] = []
    errors: list[str | None] = []
    for result in results:
        values: tuple[Any, ...] = (None,) * len(answer.names)
        error = None
        if result.ok:
            try:
                values = answer.values(result.text)
            except InvalidRequest as exc:
                error = exc.reason
        else:
            error = result.error.message if result.error else result.state.value
        rows.append(values)
        errors.append(error)
    columns = {name: [row[place] for row in rows] for place, name in enumerate(answer.names)}
    return columns if not any(errors) else columns | {answer.error_name: errors}


class _Polars:
    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.columns: tuple[str, ...] = tuple(frame.columns)
        self.records: Sequence[Mapping[str, Any]] = frame.to_dicts()

    def with_columns(self, values: Mapping[str, Sequence[Any]]) -> Any:
        polars: Any = sys.modules["polars"]
        return self._frame.with_columns(*(polars.Series(name, list(each)) for name, each in values.items()))


class _Pandas:
    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.columns: tuple[str, ...] = tuple(map(str, frame.columns))
        missing: Any = sys.modules["pandas"].isna
        self.records: Sequence[Mapping[str, Any]] = [
            {str(name): None if _is_missing(missing, value) else value for name, value in row.items()}
            for row in frame.to_dict("records")
        ]

    def with_columns(self, values: Mapping[str, Sequence[Any]]) -> Any:
        pandas: Any = sys.modules["pandas"]
        index = self._frame.index
        return self._frame.assign(**{name: pandas.Series(list(each), index=index) for name, each in values.items()})


def _is_missing(missing: Any, value: Any) -> bool:
    found = missing(value)
    return bool(found) if isinstance(found, bool) or not hasattr(found, "__len__") else False


class _Dictionaries:
    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.columns: tuple[str, ...] = tuple(dict.fromkeys(name for row in rows for name in row))
        self.records = rows

    def with_columns(self, values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        return [
            {**row, **{name: each[number] for name, each in values.items()}} for number, row in enumerate(self.records)
        ]
