"""A table is read, and written again with its answers, as it was."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from windfall.errors import InvalidRequest
from windfall.fingerprint import fingerprint
from windfall.formats import OutputFile
from windfall.formats.matching import key_of_line, key_of_row, match
from windfall.formats.tables import AnswerColumns, Question, Template, kind_of, open_table, write_table
from windfall.formats.tables.answers_by_row import AnswersByRow
from windfall.formats.tables.conditions import SqlCondition
from windfall.formats.tables.table_rows import TableRows
from windfall.formats.twins import Twins
from windfall.request import CompletionRequest
from windfall.row import InvalidRow

BODY = {"model": "small", "temperature": 0}


def question(prompt: str = "{text}", **columns: Any) -> Question:
    """A question with one column of answers, unless told otherwise."""
    return Question(Template(prompt), columns.get("answer") or AnswerColumns.text("answer"), body=BODY)


def rows_of(path: Path, prompt: str = "{text}", **more: Any) -> TableRows:
    """The rows of a table that this is asked about."""
    encoding = more.pop("encoding", "utf-8")
    return TableRows(open_table(path, encoding=encoding), question(prompt, **more), 1 << 20, more.get("limit"))


def answered(rows: TableRows, answers: Path, answer: Callable[[str], str | None]) -> int:
    """Run a table as the commands do, with a function in place of a model; returns how many requests it was asked."""
    asked = 0
    with OutputFile(answers, key_of_line) as out:
        if out.rows:
            found = match(out.lines, rows.rows, key_of_line)
            out.rewrite(found.applied_to)
        twins = Twins(key_of_line)
        twins.note_answered(out.lines())
        missing = [row for row in rows.rows() if not out.has(key_of_row(row))]
        for row in twins.first_of_each(missing):
            asked += 1
            out.write_rows([line(row, answer)])
        twins.copy(rows.rows, out)
    return asked


def line(row: CompletionRequest | InvalidRow, answer: Callable[[str], str | None]) -> dict[str, Any]:
    """An output line with the answer to the row's last message; None is a failure."""
    if isinstance(row, InvalidRow):
        error = {"code": "invalid_request", "message": str(row.error)}
        return {"id": "x", "custom_id": row.custom_id, "response": None, "error": error}
    text = answer(row.messages[-1].text())
    ours = {"fingerprint": fingerprint(row), "backend": "mlx"}
    base = {"id": "x", "custom_id": row.custom_id, "windfall": ours}
    if text is None:
        return base | {"response": None, "error": {"code": "engine", "message": "it broke"}}
    body = {"choices": [{"message": {"content": text}}]}
    return base | {"response": {"status_code": 200, "body": body}, "error": None}


def filled(rows: TableRows, folder: Path, out: Path, answer: Callable[[str], str | None] = str.upper) -> Path:
    """Answer all rows of a table, and write it to a file of this name."""
    answers = folder / "answers.jsonl"
    answered(rows, answers, answer)
    with AnswersByRow(answers, key_of_row, key_of_line) as by_row:
        write_table(rows, by_row, out, kind_of(out))
    return out


def test_csv_comes_back_as_it_was_with_one_more_column(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(
        b'\xef\xbb\xbfid,text,when\r\n007,"a, ""b""\nc",2024-02-30\r\n,gr\xc3\xbc\xc3\x9fe,\r\n1e5,NULL,"x"\r\n'
    )
    out = filled(rows_of(source), tmp_path, tmp_path / "out.csv")
    assert out.read_bytes() == (
        b'\xef\xbb\xbfid,text,when,answer\r\n007,"a, ""b""\nc",2024-02-30,"A, ""B""\nC"\r\n'
        b",gr\xc3\xbc\xc3\x9fe,,GR\xc3\x9cSSE\r\n1e5,NULL,x,NULL\r\n"
    )
    assert out.stat().st_mode & 0o077 == 0


def test_every_type_of_parquet_comes_back_as_it_was(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "text": ["a", None, "b\n"],
            "day": [dt.date(2024, 2, 29), None, dt.date(1, 1, 1)],
            "price": [decimal.Decimal("1.10"), None, decimal.Decimal("-2.05")],
            "tags": [["x", None], [], None],
            "deep": [{"a": 1}, {"a": None}, {"a": 3}],
            "kind": pl.Series(["u", "v", None], dtype=pl.Categorical),
            "big": pl.Series([2**63, 1, None], dtype=pl.UInt64),
            "raw": [b"\x00\xff", None, b""],
        }
    )
    frame.write_parquet(tmp_path / "in.parquet")
    out = filled(rows_of(tmp_path / "in.parquet"), tmp_path, tmp_path / "out.parquet")
    back = pl.read_parquet(out)
    assert back.drop("answer").equals(frame)
    assert back.drop("answer").schema == frame.schema
    assert back["answer"].to_list() == ["A", "", "B\n"]


def test_objects_keep_their_fields_and_their_order(tmp_path: Path) -> None:
    lines = [{"text": "a", "z": [1, {"y": None}], "b": 1.5}, {"b": True, "text": "ü"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    out = filled(rows_of(tmp_path / "in.jsonl"), tmp_path, tmp_path / "out.jsonl")
    back = [json.loads(each) for each in out.read_text().splitlines()]
    assert back == [{**lines[0], "answer": "A"}, {**lines[1], "answer": "Ü"}]
    assert list(back[1]) == ["b", "text", "answer"]


@pytest.mark.parametrize("ending", ["tsv", "csv.gz", "csv.zst", "jsonl", "parquet"])
def test_a_table_is_written_as_the_ending_of_its_name_says(tmp_path: Path, ending: str) -> None:
    with gzip.open(tmp_path / "in.csv.gz", "wt") as file:
        file.write("text,n\na,1\nb,2\n")
    out = filled(rows_of(tmp_path / "in.csv.gz"), tmp_path, tmp_path / f"out.{ending}")
    again = list(open_table(out).records())
    assert [(record["text"], int(record["n"]), record["answer"]) for record in again] == [("a", 1, "A"), ("b", 2, "B")]


def test_failures_are_in_a_column_of_their_own_which_is_there_only_then(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("text\na\nb\n")
    rows = rows_of(source, answer=AnswerColumns.text("mood", ("a", "c")))
    out = filled(rows, tmp_path, tmp_path / "out.csv", lambda text: {"a": "A", "b": None}[text[0]])
    assert out.read_text() == "text,mood,mood_error\na,a,\nb,,it broke\n"


def test_a_condition_leaves_other_rows_as_they_are(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("text,stars\na,1\nb,10\nc,\n")
    table = open_table(source)
    rows = TableRows(table, question(), 1 << 20, where=SqlCondition("stars > 5", table))
    assert filled(rows, tmp_path, tmp_path / "out.csv").read_text() == "text,stars,answer\na,1,\nb,10,B\nc,,\n"
    with pytest.raises(InvalidRequest, match="--where 'colour = 1' cannot be evaluated"):
        SqlCondition("colour = 1", table)


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"text,text\n", "two columns called 'text'"),
        ("a.csv", b"text\nh\xe9\n", "not utf-8: it has the byte 0xe9"),
        ("a.csv", "text\nx\n".encode("utf-16"), "is UTF-16; add --encoding utf-16"),
        ("a.csv", b"text,b\nx\n", "line 2 of .* has 1 values, and the header 2"),
        ("a.csv", b'text,b\n"x,1\n', "not valid CSV"),
        ("a.csv", b",".join(b"c%d" % n for n in range(20_000)) + b"\n", "20,000 columns"),
        ("a.csv.gz", b"text\n", "not compressed with gzip"),
        ("a.csv.gz", gzip.compress(b"text\nx\n" * 1000, mtime=0)[:-12], "cut off or damaged"),
        ("a.csv", gzip.compress(b"text\n", mtime=0), "rename it"),
        ("a.jsonl", b'[{"text": 1}]\n', "not a JSON object; a JSON array is turned into JSONL"),
        ("a.jsonl", b'{"text": \n', "line 1 of .* is not a JSON object"),
        ("a.parquet", b"PAR1xxxx", "not Parquet, or cut off"),
        ("a.txt", b"text\n", "cannot tell from its name"),
    ],
)
def test_what_is_not_a_table_is_refused_in_one_sentence(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidRequest, match=why):
        for _ in open_table(tmp_path / name).records():
            pass


def test_rows_with_the_same_question_are_asked_once(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("text\n" + "a\nb\na\n" * 10)
    rows = rows_of(source)
    assert answered(rows, tmp_path / "answers", str.upper) == 2
    lines = [json.loads(each) for each in (tmp_path / "answers").read_text().splitlines()]
    assert len(lines) == 30
    assert sum(each["windfall"].get("copied_from") == "row-1" for each in lines) == 19


def test_after_any_edits_a_rerun_gives_what_a_full_run_gives(tmp_path: Path) -> None:
    random_ = random.Random(20)
    texts = [random_.choice("abcdef") * random_.randint(1, 3) for _ in range(12)]
    prompt, source, answers = "{text}", tmp_path / "in.csv", tmp_path / "answers.jsonl"
    for step in range(60):
        match random_.randrange(6):
            case 0:
                random_.shuffle(texts)
            case 1 if texts[1:]:
                texts.pop(random_.randrange(len(texts)))
            case 2:
                texts.insert(random_.randrange(len(texts) + 1), random_.choice("abcdefgh"))
            case 3:
                texts[random_.randrange(len(texts))] += random_.choice("xyz")
            case 4:
                prompt = random_.choice(["{text}", "is it {text}?", "{text} {text}"])
            case 5:
                texts += texts[:2]
        source.write_text("text\n" + "".join(f"{text}\n" for text in texts))
        rows = rows_of(source, prompt)
        wanted = [Template(prompt).render({"text": text}).upper() for text in texts]
        answered(rows, answers, str.upper)
        with AnswersByRow(answers, key_of_row, key_of_line) as by_row:
            done = write_table(rows, by_row, tmp_path / "out.csv", kind_of(tmp_path / "out.csv"))
        got = [record["answer"] for record in open_table(tmp_path / "out.csv").records()]
        assert (got, done.failed) == (wanted, 0), step


def test_an_answer_to_another_question_is_never_taken_by_its_place(tmp_path: Path) -> None:
    source, answers = tmp_path / "in.csv", tmp_path / "answers.jsonl"
    source.write_text("text\na\nb\n")
    answered(rows_of(source), answers, str.upper)
    source.write_text("text\nb\na\n")  # and nothing is matched again
    with AnswersByRow(answers, key_of_row, key_of_line) as by_row:
        done = write_table(rows_of(source), by_row, tmp_path / "out.csv", kind_of(tmp_path / "out.csv"))
    assert (done.answered, done.failed) == (0, 2)
