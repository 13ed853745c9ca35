"""Rows that are almost right, in every format: a request or an `InvalidRow` that names its line, and an output line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.fuzzing import anything, changed, paths
from windfall.errors import ConfigError, InvalidRequest
from windfall.formats import OutputFile, output_line, read_rows
from windfall.formats.output_file import by_job_id
from windfall.queue.submission import rejection
from windfall.result import Completion, CompletionResult, JobState, Timings
from windfall.row import InvalidRow
from windfall.wire import encode_job

BODY = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "x"}]},
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}],
        },
    ],
    "stop": ["a"],
    "logit_bias": {"5": 1.0},
    "response_format": {"type": "json_object"},
}
ROWS = [
    BODY,
    {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": BODY},
    {
        "custom_id": "a",
        "params": {
            "model": "m",
            "max_tokens": 5,
            "system": [{"type": "text", "text": "s"}],
            "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "auto"},
            "stop_sequences": ["a"],
            "thinking": {"type": "enabled", "budget_tokens": 5},
        },
    },
]
almost = st.sampled_from(ROWS).flatmap(
    lambda row: st.builds(lambda at, new: changed(row, at, new), st.sampled_from(paths(row)), anything)
)


@given(st.lists(almost, min_size=1, max_size=4))
@settings(max_examples=300)
def test_a_row_with_something_else_in_one_place_is_a_job_or_says_why_not(rows: list[object]) -> None:
    data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    try:
        found = list(read_rows(io.BytesIO(data)))
    except InvalidRequest as exc:
        assert "looks like a JSON array" in str(exc)  # noqa: PT017 - of no other file is a list of objects a part
        return
    assert len(found) == len(rows)
    assert len({row.custom_id for row in found}) == len(rows)
    for line, row in enumerate(found, 1):
        if isinstance(row, InvalidRow):
            assert row.line == line
            assert output_line(rejection(f"b:{line}", row, 1.0)).count(b"\n") == 1
        else:
            encode_job(row, 1)


RESULT = CompletionResult(
    job_id="b:1",
    state=JobState.COMPLETED,
    model="m",
    completion=Completion(content="grüße"),
    timings=Timings(enqueued_at=1.0, finished_at=2.0),
)
LINE = output_line(RESULT)


@given(st.integers(0, len(LINE) - 1), st.binary(max_size=3), st.integers(0, 3))
@settings(max_examples=200)
def test_an_output_file_that_was_damaged_is_mended_or_refused_and_no_whole_row_is_lost(
    cut: int, damage: bytes, whole: int
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "out.jsonl"
        path.write_bytes(LINE * whole + LINE[:cut] + damage)
        try:
            with OutputFile(path, by_job_id) as out:
                assert out.rows >= whole
        except ConfigError:
            pass
        assert path.read_bytes().startswith(LINE * whole)
