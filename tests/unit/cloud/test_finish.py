"""Only known reasons for an end are OpenAI's; every other is what it is, and never `stop`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from windfall.errors import BackendError, BackendUnavailable, InvalidResponse
from windfall.result import FINISH_REASONS
from windfall_worker.cloud import finish
from windfall_worker.cloud.finish import finish_reason

DOCS = Path(__file__).parents[3] / "docs" / "cloud.md"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("stop", "stop"),
        ("STOP", "stop"),
        ("end_turn", "stop"),
        ("length", "length"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("function_call", "tool_calls"),
        ("SAFETY", "content_filter"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
        ("OTHER", "OTHER"),
        (None, "stop"),
    ],
)
def test_a_reason_is_openais_or_its_own(said: str | None, expected: str) -> None:
    assert finish_reason(said, calls=False, empty=False) == expected


@pytest.mark.parametrize("said", ["stop", None, "STOP"])
def test_an_end_with_calls_is_one_for_the_calls(said: str | None) -> None:
    assert finish_reason(said, calls=True, empty=False) == "tool_calls"


def test_a_limit_is_one_even_with_calls() -> None:
    assert finish_reason("length", calls=True, empty=False) == "length"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("error", BackendUnavailable),
        ("abort", BackendUnavailable),
        ("insufficient_system_resource", BackendUnavailable),
        ("network_error", BackendUnavailable),
        ("MALFORMED_FUNCTION_CALL", InvalidResponse),
        ("UNEXPECTED_TOOL_CALL", InvalidResponse),
    ],
)
@pytest.mark.parametrize("empty", [True, False])
def test_a_reason_that_means_no_completion_is_an_error(said: str, expected: type[BackendError], *, empty: bool) -> None:
    with pytest.raises(expected):
        finish_reason(said, calls=False, empty=empty)


@pytest.mark.parametrize("said", [None, "", "OTHER", "pause_turn", 5, ["stop"], "x" * 65, "a\nb"])
def test_an_empty_answer_needs_a_reason_that_explains_it(said: object) -> None:
    with pytest.raises(InvalidResponse):
        finish_reason(said, calls=False, empty=True)


@pytest.mark.parametrize("said", [5, ["stop"], "x" * 65, "a\nb"])
def test_a_reason_that_is_not_a_word_is_refused(said: object) -> None:
    with pytest.raises(InvalidResponse, match="not a word"):
        finish_reason(said, calls=False, empty=False)


@pytest.mark.parametrize("said", ["stop", "length", "content_filter"])
def test_an_empty_answer_may_be_all_there_is(said: str) -> None:
    assert finish_reason(said, calls=False, empty=True) == said


def test_the_documentation_has_every_word_that_is_known() -> None:
    section = DOCS.read_text().partition("## How answers end")[2].partition("\n## ")[0]
    documented = {word.lower() for word in re.findall(r"`([A-Za-z_]+)`", section)}
    known = {*finish._KNOWN, *finish._BROKEN_OFF, *finish._MALFORMED}
    assert known - documented == set()
    assert documented >= FINISH_REASONS
