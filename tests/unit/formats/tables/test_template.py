"""Prompts with columns in them."""

from __future__ import annotations

import pytest

from windfall.errors import InvalidRequest
from windfall.formats.tables import Template


def test_a_column_is_replaced_by_its_value_and_doubled_braces_by_braces() -> None:
    template = Template("{{x}} {text}: {stars:.1f} {my column}")
    assert template.columns == {"text", "stars", "my column"}
    assert template.render({"text": "a {b}", "stars": 3, "my column": None}) == "{x} a {b}: 3.0 "


def test_a_number_in_a_text_column_is_formatted_as_one() -> None:
    assert Template("{stars:.1f}").render({"stars": "3"}) == "3.0"


def test_a_value_that_does_not_fit_its_format_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"'stars': cannot be written as \{stars:\.1f\}"):
        Template("{stars:.1f}").render({"stars": "many"})


@pytest.mark.parametrize("text", ["{text", "text}", "{text!r}", "{text:{width}}"])
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="the prompt"):
        Template(text)


def test_a_missing_column_is_named_with_the_nearest_one() -> None:
    with pytest.raises(InvalidRequest, match=r"no column 'txt' for the prompt; did you mean \{text\}"):
        Template("{txt}").check(("id", "text"))


@pytest.mark.parametrize("text", ["{text.__class__}", "{text[0]}"])
def test_a_value_is_never_taken_apart(text: str) -> None:
    with pytest.raises(InvalidRequest, match="no column"):
        Template(text).check(("text",))
