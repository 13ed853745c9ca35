"""`windfall results` into CSV, Parquet, SQLite, and as Anthropic's lines."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl

from acceptance.commands import Shell, named_rows


def test_a_batch_is_fetched_as_a_table_of_any_kind_and_as_anthropic_lines(redis_url: str, tmp_path: Path) -> None:
    windfall = Shell(tmp_path, redis_url)
    windfall.write("in.jsonl", [*named_rows(3), {"custom_id": "bad"}])
    with windfall.started("worker", "--simulate", "small=0"):
        batch = windfall("submit", "in.jsonl", "--model", "small", "--wait").out.strip()
    for name in ("out.csv", "out.parquet", "out.db", "out.db", "out.jsonl"):
        done = windfall("results", batch, "-o", name)
        assert done.code == 0, done.err
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["custom_id"] for row in rows) == ["bad", "c1", "c2", "c3"]
    assert {row["state"] for row in rows} == {"completed", "failed"}
    frame = pl.read_parquet(tmp_path / "out.parquet")
    assert frame["row"].sum() == 10
    assert frame.schema["seconds"] == pl.Float64()
    with closing(sqlite3.connect(tmp_path / "out.db")) as database:
        assert database.execute(f'SELECT count(*), count(error) FROM "{batch}"').fetchall() == [(4, 1)]  # noqa: S608
    assert (tmp_path / "out.db").stat().st_mode & 0o077 == 0

    lines = [json.loads(line) for line in windfall("results", batch, "--format", "anthropic").out.splitlines()]
    kinds = {line["custom_id"]: line["result"]["type"] for line in lines}
    assert kinds == {"bad": "errored", "c1": "succeeded", "c2": "succeeded", "c3": "succeeded"}


def test_what_a_table_cannot_do_is_said(redis_url: str, tmp_path: Path) -> None:
    windfall = Shell(tmp_path, redis_url)
    assert "no batch 'none'" in windfall("results", "none", "-o", "out.csv").err
    assert "a table has columns of its own" in windfall("results", "none", "-o", "o.csv", "--format", "anthropic").err
    assert not (tmp_path / "out.csv").exists()
