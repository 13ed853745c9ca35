"""Guessing what a file without JSON objects is, and how to convert it."""

from __future__ import annotations

from typing import Final

#: Bytes examined at the beginning of a file.
HEAD_BYTES: Final = 4096

_MAGIC: Final = (
    (b"\x1f\x8b", "gzip; unpack it first: gunzip -c FILE > FILE.jsonl"),
    (b"BZh", "bzip2; unpack it first: bunzip2 -c FILE > FILE.jsonl"),
    (b"\xfd7zXZ", "xz; unpack it first: xz -dc FILE > FILE.jsonl"),
    (b"\x28\xb5\x2f\xfd", "zstd; unpack it first: zstd -dc FILE > FILE.jsonl"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet; save what is in it as JSON Lines"),
    (b"PAR1", "Parquet; rename it to FILE.parquet, and ask something about each of its rows with --prompt"),
    (b"SQLite format 3", "an SQLite database; write its rows as JSON Lines"),
)
_UTF_16: Final = "UTF-16; convert it first: iconv -f UTF-16 -t UTF-8 FILE > FILE.jsonl"
_FROM_TABLE: Final = "ask something about each of its rows: --prompt 'Is this a complaint? {COLUMN}'"
_TABLES: Final = (
    ("\t", "TSV"),
    (",", "CSV"),
    (";", "CSV with semicolons"),
)


def looks_like(head: bytes) -> str | None:
    """What a file with this beginning is, and how to convert it; None if unknown."""
    for magic, what in _MAGIC:
        if head.startswith(magic):
            return what
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or head[:200].count(b"\0") > len(head[:200]) // 4:
        return _UTF_16
    text = head.decode("utf-8", "replace").removeprefix("\ufeff").lstrip()
    if text.startswith("[") and text[1:].lstrip().startswith("{"):
        return "a JSON array; write each of its items on a line of its own: jq -c '.[]' FILE > FILE.jsonl"
    lines = text.splitlines()
    if text.startswith("{") and len(lines) > 1 and not lines[0].rstrip().endswith("}"):
        return "JSON over several lines; write each object on one line: jq -c . FILE > FILE.jsonl"
    return _table(lines[:5]) if not text.startswith(("{", "[")) else None


def _table(lines: list[str]) -> str | None:
    """Detect CSV and its delimiter. The last line may be cut off, so it is ignored if there are others."""
    for separator, name in _TABLES:
        counts = {line.count(separator) for line in (lines[:-1] if len(lines) > 2 else lines) if line.strip()}
        if counts and 0 not in counts and (len(counts) == 1 or separator == "\t"):
            return f"{name}; {_FROM_TABLE}"
    return None
