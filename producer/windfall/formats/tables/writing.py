"""Writing a table again, with its answers as additional columns."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from pydantic_core import from_json, to_json

from windfall.config.private import MODE, open_private
from windfall.errors import ConfigError, InvalidRequest
from windfall.formats.tables.answer_columns import AnswerColumns, ValueType
from windfall.formats.tables.answers_by_row import AnswersByRow, Line
from windfall.formats.tables.delimited import DelimitedTable
from windfall.formats.tables.kind import TableKind
from windfall.formats.tables.lines_of_text import opened_text
from windfall.formats.tables.packed import packed_for_writing
from windfall.formats.tables.parquet import ParquetTable, need_polars
from windfall.formats.tables.table import Table
from windfall.formats.tables.table_rows import TableRows
from windfall.row import InvalidRow

_NO_ANSWER: Final = "no answer yet: repeat the command"


@dataclass(frozen=True, slots=True)
class Filled:
    """What a table holds now: its rows, those with an answer, and those that failed."""

    rows: int
    answered: int
    failed: int
    first_error: str = ""


def write_table(rows: TableRows, answers: AnswersByRow, target: Path, kind: TableKind) -> Filled:
    """Write the table with its answers; the file appears complete, or not at all.

    Rows that failed have their reason in a column of its own, which exists only where there are some. Raises
    `ConfigError` where the file cannot be written, and `InvalidRequest` where this kind cannot hold the table.
    """
    with tempfile.TemporaryDirectory(prefix="windfall-table-") as folder:
        spool = Path(folder) / "answers.jsonl"
        filled = _spool(rows, answers, spool)
        columns = rows.question.answer
        added = [*columns.names, columns.error_name] if filled.failed else list(columns.names)
        try:
            with appearing(target) as unfinished:
                if kind is TableKind.PARQUET:
                    _write_parquet(rows, spool, columns, added, unfinished)
                else:
                    _write_text(rows, spool, added, unfinished, target, kind)
        except OSError as exc:
            raise ConfigError(f"cannot write to {target}: {exc.strerror or exc}") from exc
    return filled


def _spool(rows: TableRows, answers: AnswersByRow, spool: Path) -> Filled:
    """Write the values of the additional columns, one JSON object a row."""
    columns = rows.question.answer
    nothing = dict.fromkeys(columns.names)
    count = answered = failed = 0
    first = ""
    with open_private(spool, "wb") as file:
        for count, row in enumerate(rows.each(), 1):
            if row is None:
                file.write(to_json(nothing) + b"\n")
                continue
            line = answers.of(row, count)
            error = str(row.error) if isinstance(row, InvalidRow) else _error(line)
            values: dict[str, Any] = nothing
            if not error and line is not None:
                try:
                    values = dict(zip(columns.names, columns.values(_text(line)), strict=True))
                    answered += 1
                except InvalidRequest as exc:
                    error = exc.reason
            if error:
                failed += 1
                first = first or error
            file.write(to_json(values | {columns.error_name: error or None}) + b"\n")
    return Filled(count, answered, failed, first)


def _error(line: Line | None) -> str:
    if line is None:
        return _NO_ANSWER
    error = line.get("error")
    return str(error.get("message") or error.get("code")) if isinstance(error, dict) else ""


def _text(line: Line) -> str:
    return str(line["response"]["body"]["choices"][0]["message"].get("content") or "")


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A file that takes the target's place when it is complete; only its owner can read a new one."""
    real = target.resolve()
    unfinished = real.with_name(f".{real.name}.tmp{''.join(real.suffixes[-1:])}")
    with suppress(FileNotFoundError):
        unfinished.unlink()
    try:
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE))
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(real)
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()


def _additions(spool: Path, added: Sequence[str]) -> Iterator[list[Any]]:
    with spool.open("rb") as file:
        for line in file:
            values = from_json(line)
            yield [values.get(name) for name in added]


def _write_text(rows: TableRows, spool: Path, added: Sequence[str], path: Path, target: Path, kind: TableKind) -> None:
    table = rows.table
    additions = _additions(spool, added)
    with packed_for_writing(path, target) as file:
        if kind is TableKind.JSONL:
            for record, values in zip(rows.records(), additions, strict=True):
                file.write(to_json({**record, **dict(zip(added, values, strict=True))}, inf_nan_mode="null") + b"\n")
            return
        encoding, ending = "utf-8", "\n"
        delimiter = "\t" if kind is TableKind.TSV else ","
        if isinstance(table, DelimitedTable):
            encoding, ending = table.encoding, table.line_ending
            delimiter = table.delimiter if table.kind is kind else delimiter
            if encoding == "utf-8" and _has_mark(table.path):
                encoding = "utf-8-sig"
        text = io.TextIOWrapper(cast("io.BufferedWriter", file), encoding=encoding, newline="", write_through=False)
        writer = csv.writer(text, delimiter=delimiter, lineterminator=ending)
        writer.writerow([*table.columns, *added])
        try:
            for values_there, values in zip(_lists(rows, table), additions, strict=True):
                writer.writerow([*values_there, *(_cell(value) for value in values)])
        except UnicodeEncodeError as exc:
            raise InvalidRequest(
                f"an answer holds {exc.object[exc.start]!r}, which {encoding} cannot write; name an output with another"
                " ending, such as .jsonl, or convert the table to UTF-8 first"
            ) from None
        text.flush()
        text.detach()


def _lists(rows: TableRows, table: Table) -> Iterator[list[Any]]:
    """The values of each row, as CSV has them."""
    if isinstance(table, DelimitedTable):
        every = table.rows()
        for count, values in enumerate(every):
            if count == rows.limit:
                return
            yield values
        return
    for record in rows.records():
        unknown = record.keys() - set(table.columns)
        if unknown:
            raise InvalidRequest(
                f"{table.path} has a field {min(unknown)!r} that its first rows lack, so it has no column; "
                "name an output that ends in .jsonl"
            )
        yield [_cell(record.get(column)) for column in table.columns]


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, bool)):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return to_json(value).decode()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(value)


def _has_mark(path: Path) -> bool:
    with opened_text(path, "latin-1") as text:
        return text.read(3) == "ï»¿"


def _write_parquet(rows: TableRows, spool: Path, columns: AnswerColumns, added: Sequence[str], path: Path) -> None:
    polars = need_polars("writing Parquet")
    types = {
        ValueType.STRING: polars.String,
        ValueType.INTEGER: polars.Int64,
        ValueType.NUMBER: polars.Float64,
        ValueType.BOOLEAN: polars.Boolean,
        ValueType.JSON: polars.String,
    }
    schema = {name: types[columns.types.get(name, ValueType.STRING)] for name in added}
    answers = polars.scan_ndjson(spool, schema=schema | {columns.error_name: polars.String}).select(added)
    try:
        with _frame(rows, spool.parent, polars) as frame:
            limited = frame if rows.limit is None else frame.head(rows.limit)
            polars.concat([limited, answers], how="horizontal").sink_parquet(path)
    except polars.exceptions.PolarsError as exc:
        raise InvalidRequest(
            f"{rows.name} cannot be written as Parquet: {(str(exc).splitlines() or [''])[0]}"
        ) from None


@contextmanager
def _frame(rows: TableRows, folder: Path, polars: Any) -> Iterator[Any]:
    """The table as a lazy frame, with the types that its values have."""
    table = rows.table
    if isinstance(table, ParquetTable):
        yield table.frame()
        return
    plain = folder / "table"
    if isinstance(table, DelimitedTable):
        with opened_text(table.path, table.encoding) as text, plain.open("w", encoding="utf-8", newline="") as copy:
            while piece := text.read(1 << 20):
                copy.write(piece)
        yield polars.scan_csv(plain, separator=table.delimiter, infer_schema_length=None, glob=False)
        return
    with plain.open("wb") as copy:
        for record in rows.records():
            copy.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
    yield polars.scan_ndjson(plain, infer_schema_length=None)
