"""The bundled model answers rows that it was never trained on, through the whole system."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

from acceptance.commands import Shell
from windfall.cli import demo
from windfall_worker.demo.tasks import held_out_rows, training_rows

EACH = 15


def test_on_held_out_rows_it_answers_at_least_95_percent_exactly_right(tmp_path: Path) -> None:
    rows = held_out_rows(EACH, seed=2026)
    trained = {(row.task, row.subject) for row in islice(training_rows(seed=1), 2000)}
    assert not trained & {(row.task, row.subject) for row in rows}
    shell = Shell(tmp_path)
    shell.write("in.jsonl", [demo._line(number, row) for number, row in enumerate(rows, 1)])
    done = shell("run", "in.jsonl", "-o", "out.jsonl", "--model", "demo")
    assert done.code == 0, done.err
    answers = {row["custom_id"]: demo._answer(row) for row in shell.rows("out.jsonl")}
    wrong = Counter(
        row.task for number, row in enumerate(rows, 1) if answers[f"{row.task}-{number}"] != row.content.strip()
    )
    assert len(rows) == EACH * 10
    assert wrong.total() <= len(rows) * 0.05, wrong
