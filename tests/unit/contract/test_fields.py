"""What becomes of each field of the two protocols: one table for the code, the docs and the fingerprint."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from helpers.requests import request
from windfall.anthropic_body import AnthropicBody
from windfall.fields import ANTHROPIC, OPENAI, PARTS, Verdict, as_markdown
from windfall.formats import output_line, read_rows
from windfall.request import PLACEMENT_FIELDS, CompletionRequest
from windfall.result import Completion, CompletionResult, JobState, Timings
from windfall.row import InvalidRow, Row
from windfall_worker.backends.simulated import SimulatedBackend

DOCS = Path(__file__).parents[3] / "docs" / "requests.md"
HARMLESS: dict[str, Any] = {
    "store": True,
    "service_tier": "flex",
    "verbosity": "low",
    "modalities": ["text"],
    "prediction": {"type": "content", "content": "x"},
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "safety_identifier": "s",
    "user": "u",
    "ignore_eos": True,
}


def read(**fields: Any) -> Row:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}
    (row,) = read_rows(io.BytesIO(json.dumps(body).encode()))
    return row


def test_the_table_is_what_the_contract_takes() -> None:
    taken = {name for name, (verdict, _) in OPENAI.items() if verdict is not Verdict.REFUSED}
    assert taken == CompletionRequest.model_fields.keys() - PLACEMENT_FIELDS - {"anthropic"}
    taken = {name for name, (verdict, _) in ANTHROPIC.items() if verdict is not Verdict.REFUSED}
    assert taken == AnthropicBody.model_fields.keys() | {"model", "stream"}


def test_the_docs_have_the_same_table() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert as_markdown(OPENAI) in text
    assert as_markdown(ANTHROPIC) in text
    assert as_markdown(PARTS) in text


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_a_field_that_cannot_change_the_answer_is_accepted_and_named_by_a_backend_without_a_use_for_it(
    name: str,
) -> None:
    row = read(**{name: HARMLESS[name]})
    assert isinstance(row, CompletionRequest)
    assert SimulatedBackend(0.0).ignored(row) == (name,)
    assert OPENAI[name][0] is Verdict.PASSED_OVER


def test_the_harmless_fields_are_all_that_are_passed_over() -> None:
    assert HARMLESS.keys() == {name for name, (verdict, _) in OPENAI.items() if verdict is Verdict.PASSED_OVER}


@pytest.mark.parametrize("name", sorted(name for name, (verdict, _) in OPENAI.items() if verdict is Verdict.REFUSED))
def test_a_field_without_which_the_answer_would_be_another_is_refused_by_name_unless_it_is_null(name: str) -> None:
    row = read(**{name: {}})
    assert isinstance(row, InvalidRow)
    assert (row.error.field, row.error.reason) == (name, f"cannot be honoured: {OPENAI[name][1]}")
    assert isinstance(read(**{name: None}), CompletionRequest)


def test_an_sdks_own_answer_may_be_given_back_as_a_turn() -> None:
    turn: dict[str, Any] = {"role": "assistant", "content": "y", "refusal": None, "annotations": [], "audio": None}
    row = read(messages=[{"role": "user", "content": "x"}, turn | {"function_call": None, "tool_calls": None}])
    assert isinstance(row, CompletionRequest)
    assert row.body()["messages"][1] == {"role": "assistant", "content": "y"}


def test_a_thinking_budget_that_is_not_kept_is_named() -> None:
    asked = request(thinking={"type": "enabled", "budget_tokens": 1024})
    assert SimulatedBackend(0.0).ignored(asked) == ("thinking.budget_tokens",)


def test_an_output_line_names_what_was_passed_over() -> None:
    result = CompletionResult(
        job_id="b:1",
        state=JobState.COMPLETED,
        model="m",
        completion=Completion(content="x"),
        ignored=("store",),
        timings=Timings(enqueued_at=1.0, finished_at=2.0),
    )
    assert json.loads(output_line(result))["windfall"]["ignored"] == ["store"]
