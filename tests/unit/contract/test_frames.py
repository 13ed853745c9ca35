"""Frames of Polars and pandas, and lists of dictionaries, come back as they were with one column more."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from windfall.errors import InvalidRequest
from windfall.formats.tables import AnswerColumns
from windfall.frames import answer_values, frame_of
from windfall.result import Completion, CompletionResult, ErrorInfo, JobState, Timings, Usage

ANSWER = AnswerColumns.text("mood", ("good", "bad"))


def result(text: str | None) -> CompletionResult:
    """A result with this text, or a failed one."""
    completion = None if text is None else Completion(content=text, finish_reason="stop", usage=Usage())
    return CompletionResult(
        job_id="b:1",
        state=JobState.FAILED if text is None else JobState.COMPLETED,
        model="m",
        completion=completion,
        error=ErrorInfo(type="engine", message="it broke") if text is None else None,
        timings=Timings(enqueued_at=0, finished_at=1),
    )


def test_polars_keeps_its_types() -> None:
    frame = pl.DataFrame({"text": ["a", None], "n": pl.Series([1, 2], dtype=pl.UInt8)})
    got = frame_of(frame).with_columns(answer_values(ANSWER, [result("Good"), result("bad")]))
    assert got.equals(frame.with_columns(mood=pl.Series(["good", "bad"])))


def test_a_list_of_dictionaries_is_copied() -> None:
    rows = [{"text": "a"}, {"text": "b", "x": 1}]
    got = frame_of(rows).with_columns(answer_values(ANSWER, [result("good"), result(None)]))
    assert got == [
        {"text": "a", "mood": "good", "mood_error": None},
        {"text": "b", "x": 1, "mood": None, "mood_error": "it broke"},
    ]
    assert rows == [{"text": "a"}, {"text": "b", "x": 1}]


@pytest.mark.parametrize("table", [pl.LazyFrame({"a": [1]}), "text", [1], {"a": [1]}])
def test_anything_else_is_named(table: Any) -> None:
    with pytest.raises(InvalidRequest, match="a table is a Polars or pandas DataFrame or a list of dictionaries, not "):
        frame_of(table)
