"""Which kind of table a file is, and how it is compressed, by its name."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

from windfall.errors import InvalidRequest


class TableKind(StrEnum):
    """The kinds of table."""

    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    PARQUET = "parquet"

    @property
    def is_text(self) -> bool:
        """Whether it is read and written line by line."""
        return self is not TableKind.PARQUET


_ENDINGS: Final = {
    ".csv": TableKind.CSV,
    ".tsv": TableKind.TSV,
    ".tab": TableKind.TSV,
    ".jsonl": TableKind.JSONL,
    ".ndjson": TableKind.JSONL,
    ".parquet": TableKind.PARQUET,
    ".pq": TableKind.PARQUET,
}
_PACKED: Final = (".gz", ".zst")


def packing(path: Path) -> str:
    """How the file is compressed, by its ending: `.gz`, `.zst` or nothing."""
    ending = path.suffix.lower()
    return ending if ending in _PACKED else ""


def kind_of(path: Path, told: TableKind | None = None) -> TableKind:
    """The kind of a table: as told, else by the ending of its name. Raises `InvalidRequest` if neither says."""
    name = path.with_suffix("") if packing(path) else path
    found = told or _ENDINGS.get(name.suffix.lower())
    if found is None:
        raise InvalidRequest(
            f"cannot tell from its name what kind of table {path} is; name it with --format (csv, tsv, jsonl, parquet)"
        )
    if not found.is_text and packing(path):
        raise InvalidRequest(f"{path} is Parquet, which is compressed by itself; name it without {packing(path)}")
    return found
