"""Answers find their rows again, however the input was edited: never a wrong one, and none is asked for twice."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from windfall.formats import read_rows
from windfall.formats.matching import Line, Matched, key_of_line, key_of_real_line, key_of_row, match
from windfall.row import InvalidRow, Row


def body(text: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


def named(name: str, text: str) -> dict[str, Any]:
    return {"custom_id": name, "body": body(text)}


def rows_of(file: list[Any]) -> list[Row]:
    return list(read_rows(io.BytesIO("\n".join(map(json.dumps, file)).encode())))


def answered(row: Row, asked: Any) -> Line:
    """The line that a run writes for a row; its `id` says what was asked."""
    key = key_of_row(row).partition("\0")[2]
    failed = isinstance(row, InvalidRow)
    return {
        "id": json.dumps(asked, sort_keys=True),
        "custom_id": row.custom_id,
        "error": {"code": "invalid_request", "message": key} if failed else None,
        "windfall": {"fingerprint": None if failed else key, "backend": "mlx"},
    }


def lines_of(file: list[Any]) -> list[Line]:
    return [answered(row, asked) for row, asked in zip(rows_of(file), file, strict=True)]


def rerun(lines: list[Line], file: list[Any]) -> tuple[Matched, list[Line], list[Row]]:
    """What was matched, the output before the run goes on, and the rows that it runs."""
    found = match(lambda: lines, lambda: iter(rows_of(file)), key_of_line)
    kept = [line for line in map(found.applied_to, lines) if line is not None]
    there = {key_of_line(line) for line in kept}
    return found, kept, [row for row in rows_of(file) if key_of_row(row) not in there]


def test_a_row_put_in_front_runs_and_the_others_keep_their_answers() -> None:
    old = [body("a"), body("b")]
    found, kept, missing = rerun(lines_of(old), [body("new"), *old])
    assert [row.custom_id for row in missing] == ["row-1"]
    assert {line["custom_id"]: json.loads(line["id"]) for line in kept} == {"row-2": body("a"), "row-3": body("b")}
    assert (found.reused, found.changed, found.new, found.replaced) == (2, 0, 1, set())


def test_a_changed_row_runs_again_and_its_old_answer_makes_room() -> None:
    for old, new in ((body("a"), body("b")), (named("x", "a"), named("x", "b"))):
        found, kept, missing = rerun(lines_of([old, body("c")]), [new, body("c")])
        assert [line["custom_id"] for line in kept] == ["row-2"]
        assert len(missing) == 1
        assert (found.reused, found.changed, found.new) == (1, 1, 0)


def test_equal_rows_each_have_an_answer_of_their_own() -> None:
    found, kept, missing = rerun(lines_of([body("a")] * 2), [body("z"), *[body("a")] * 3])
    assert (found.reused, found.new, len(missing)) == (2, 2, 2)
    assert len({line["custom_id"] for line in kept}) == 2


def test_an_answer_under_a_name_of_its_own_is_not_given_to_another_row() -> None:
    found, kept, missing = rerun(lines_of([named("x", "a")]), [body("a")])
    assert (found.reused, found.new, found.strays) == (0, 1, 1)
    assert [line["custom_id"] for line in kept] == ["x"]
    assert [row.custom_id for row in missing] == ["row-1"]


def test_answers_without_a_fingerprint_belong_to_nobody() -> None:
    lines = [line | {"windfall": None} for line in lines_of([body("a"), named("x", "b")])]
    del lines[0]["windfall"]
    found, kept, missing = rerun(lines, [body("a"), named("x", "b")])
    assert (found.unknown, kept, len(missing)) == (2, [], 2)


def test_what_was_simulated_is_no_answer_of_a_model() -> None:
    (line,) = lines_of([body("a")])
    simulated = line | {"windfall": line["windfall"] | {"backend": "simulated"}}
    assert key_of_line(simulated) == key_of_real_line(line) == key_of_line(line)
    assert key_of_real_line(simulated) != key_of_line(line)


texts = st.sampled_from("abc")
asked = st.lists(
    texts.map(body) | st.tuples(st.sampled_from(["x", "y", "row-1", "row-3"]), texts).map(lambda it: named(*it)),
    min_size=1,
    max_size=6,
)


@given(asked, st.lists(asked, min_size=1, max_size=3))
def test_after_any_edits_each_row_has_the_answer_to_what_it_asks(first: list[Any], edits: list[list[Any]]) -> None:
    lines = lines_of(first)
    for file in edits:
        _, lines, missing = rerun(lines, file)
        by_key = {key_of_row(row): what for row, what in zip(rows_of(file), file, strict=True)}
        lines += [answered(row, by_key[key_of_row(row)]) for row in missing]
        found = {line["custom_id"]: json.loads(line["id"]) for line in lines}
        assert max(Counter(line["custom_id"] for line in lines).values()) == 1
        for row, what in zip(rows_of(file), file, strict=True):
            if isinstance(row, InvalidRow):
                assert str(row.error) in [line["error"] and line["error"]["message"] for line in lines]
                continue
            answer = found[str(row.custom_id)]
            assert answer.get("body", answer) == what.get("body", what)
