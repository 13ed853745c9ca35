"""The results of a batch as a table: one row each, with fixed columns."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final, cast

from pydantic_core import to_json

from windfall.errors import ConfigError, InvalidRequest
from windfall.formats.tables.kind import TableKind, kind_of
from windfall.formats.tables.packed import packed_for_writing
from windfall.formats.tables.parquet import need_polars
from windfall.formats.tables.writing import appearing
from windfall.keys import row_of
from windfall.result import CompletionResult


def _calls(result: CompletionResult) -> str | None:
    calls = result.completion.tool_calls if result.completion else ()
    return to_json([call.model_dump(mode="json") for call in calls]).decode() if calls else None


#: The columns, their SQL types, and what stands in them.
_COLUMNS: Final[dict[str, tuple[str, Callable[[CompletionResult], Any]]]] = {
    "row": ("INTEGER", lambda result: row_of(result.job_id)),
    "id": ("TEXT", lambda result: result.job_id),
    "custom_id": ("TEXT", lambda result: result.custom_id),
    "state": ("TEXT", lambda result: result.state.value),
    "content": ("TEXT", lambda result: result.completion.content if result.completion else None),
    "reasoning": ("TEXT", lambda result: result.completion.reasoning if result.completion else None),
    "tool_calls": ("TEXT", _calls),
    "finish_reason": ("TEXT", lambda result: result.completion.finish_reason if result.completion else None),
    "error_type": ("TEXT", lambda result: result.error.type if result.error else None),
    "error": ("TEXT", lambda result: result.error.message if result.error else None),
    "model": ("TEXT", lambda result: result.model),
    "backend": ("TEXT", lambda result: result.backend),
    "prompt_tokens": ("INTEGER", lambda result: result.usage.prompt_tokens),
    "completion_tokens": ("INTEGER", lambda result: result.usage.completion_tokens),
    "seconds": ("REAL", lambda result: result.timings.total),
}
_SQLITE: Final = frozenset({".db", ".sqlite", ".sqlite3"})
_PAGE: Final = 5000


def is_results_table(path: Path) -> bool:
    """Whether the name of an output asks for a table and not for output lines."""
    try:
        return path.suffix.lower() in _SQLITE or kind_of(path) is not TableKind.JSONL
    except InvalidRequest:
        return False


def write_results_table(results: Iterable[CompletionResult], target: Path, batch_id: str) -> int:
    """Write a new file or, into an SQLite database, a table named after the batch; returns the number of rows.

    What was there of this batch is replaced as a whole. Raises `ConfigError` where it cannot be written.
    """
    try:
        if target.suffix.lower() in _SQLITE:
            return _write_sqlite(results, target, batch_id)
        with appearing(target) as unfinished:
            if kind_of(target) is TableKind.PARQUET:
                return _write_parquet(results, unfinished)
            return _write_delimited(results, unfinished, target)
    except (OSError, sqlite3.Error) as exc:
        raise ConfigError(f"cannot write to {target}: {getattr(exc, 'strerror', None) or exc}") from exc


def _values(result: CompletionResult) -> tuple[Any, ...]:
    return tuple(value(result) for _, value in _COLUMNS.values())


def _write_delimited(results: Iterable[CompletionResult], path: Path, target: Path) -> int:
    count = 0
    with packed_for_writing(path, target) as file:
        text = io.TextIOWrapper(cast("io.BufferedWriter", file), encoding="utf-8", newline="")
        delimiter = "\t" if kind_of(target) is TableKind.TSV else ","
        writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for count, result in enumerate(results, 1):  # noqa: B007 - the last one is returned
            writer.writerow(_values(result))
        text.flush()
        text.detach()
    return count


def _write_parquet(results: Iterable[CompletionResult], path: Path) -> int:
    polars = need_polars("writing Parquet")
    types = {"INTEGER": polars.Int64, "TEXT": polars.String, "REAL": polars.Float64}
    schema = {name: types[kind] for name, (kind, _) in _COLUMNS.items()}
    lines = path.with_name(f"{path.name}.lines")
    count = 0
    try:
        with lines.open("xb") as file:
            for count, result in enumerate(results, 1):  # noqa: B007 - the last one is returned
                file.write(to_json(dict(zip(_COLUMNS, _values(result), strict=True))) + b"\n")
        polars.scan_ndjson(lines, schema=schema).sink_parquet(path)
    finally:
        lines.unlink(missing_ok=True)
    return count


def _write_sqlite(results: Iterable[CompletionResult], path: Path, batch_id: str) -> int:
    name = f'"{batch_id.replace(chr(34), chr(34) * 2)}"'
    columns = ", ".join(f"{column} {kind}" for column, (kind, _) in _COLUMNS.items())
    insert = f"INSERT INTO {name} VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - the name is quoted
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        path.chmod(0o600)
        database.execute("BEGIN IMMEDIATE")
        database.execute(f"DROP TABLE IF EXISTS {name}")
        database.execute(f"CREATE TABLE {name} ({columns})")
        cursor = database.executemany(insert, map(_values, results))
        count = cursor.rowcount
        database.execute("COMMIT")
    return max(count, 0)
