"""Answers become values of columns, or say why not."""

from __future__ import annotations

import json

import pytest

from windfall.errors import InvalidRequest
from windfall.formats.tables import AnswerColumns

SCHEMA = json.dumps(
    {
        "properties": {
            "mood": {"enum": ["good", "bad"]},
            "score": {"type": "integer"},
            "share": {"type": ["number", "null"]},
            "sure": {"type": "boolean"},
            "words": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["mood", "score"],
    }
)


@pytest.mark.parametrize("answer", ["positive", "Positive.", ' "positive"\n', "**Positive**"])
def test_case_quotation_marks_and_markdown_do_not_matter_to_a_choice(answer: str) -> None:
    columns = AnswerColumns.text("mood", ("positive", "negative"))
    assert columns.values(answer) == ("positive",)


@pytest.mark.parametrize("answer", ["", "not positive", "positive or negative", "unsure"])
def test_an_answer_that_is_not_a_choice_is_an_error(answer: str) -> None:
    with pytest.raises(InvalidRequest, match="not one of the choices"):
        AnswerColumns.text("mood", ("positive", "negative")).values(answer)


def test_choices_that_differ_only_in_case_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="cannot be told apart"):
        AnswerColumns.text("mood", ("Yes", "yes"))


def test_a_schema_gives_typed_columns() -> None:
    columns = AnswerColumns.of_schema(SCHEMA, "answer")
    assert columns.names == ("mood", "score", "share", "sure", "words")
    answer = '```json\n{"mood": "good", "score": 3.0, "share": 1, "sure": true, "words": ["a"]}\n```'
    assert columns.values(answer) == ("good", 3, 1.0, True, '["a"]')
    assert columns.values('{"mood": "bad", "score": 1}') == ("bad", 1, None, None, None)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("good", "not JSON"),
        ("[1]", "not of type"),
        ('{"mood": "good"}', "required"),
        ('{"mood": "x", "score": 1}', "mood"),
    ],
)
def test_an_answer_that_does_not_match_the_schema_is_an_error(answer: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        AnswerColumns.of_schema(SCHEMA, "answer").values(answer)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"properties": {}}', '{"properties": {"a": {"type": "text"}}}'])
def test_what_is_no_schema_of_an_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="the schema"):
        AnswerColumns.of_schema(text, "answer")
