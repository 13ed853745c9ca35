"""Tool calls in pieces, with what servers leave out of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windfall_worker.cloud.tool_calls import ToolCalls


def assembled(*pieces: dict[str, Any]) -> list[tuple[str, str, str]]:
    calls = ToolCalls()
    for piece in pieces:
        calls.add(piece)
    return [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls.functions()]


def piece(arguments: str | None = None, name: str | None = None, **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"function": {key: value for key, value in function.items() if value is not None}} | more


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (
            [
                piece("{", "f", index=0, id="a"),
                piece("{", "g", index=1, id="b"),
                piece("}", index=0),
                piece("}", index=1),
            ],
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
        ([piece("{", "f", id="a"), piece("}"), piece("{}", "g", id="b")], [("a", "f", "{}"), ("b", "g", "{}")]),
        ([piece("{}", "f", id="a"), piece("{}", "f", id="b")], [("a", "f", "{}"), ("b", "f", "{}")]),
        ([piece("{}", "f", id="a", index=0), piece("{}", "g", id="b", index=0)], [("a", "f", "{}"), ("b", "g", "{}")]),
        ([piece("{", "f", id="a", index=0), piece("}", "", id="b", index=0)], [("b", "f", "{}")]),
        ([piece("{", "f", id="a", index=0), piece("}", "f", id="a", index=0)], [("a", "f", "{}")]),
        ([piece("{", "get_", id="a", index=0), piece("}", "it", index=0)], [("a", "get_it", "{}")]),
        ([piece("", "f", id="a")], [("a", "f", "{}")]),
        ([piece(None, "f", id="a")], [("a", "f", "{}")]),
    ],
    ids=[
        "OpenAI",
        "without an index",
        "twice the same function",
        "the same index",
        "a new id with every piece",
        "the name with every piece",
        "a name in pieces",
        "empty arguments",
        "no arguments",
    ],
)
def test_pieces_are_the_calls_that_they_were(
    pieces: list[dict[str, Any]], expected: list[tuple[str, str, str]]
) -> None:
    assert assembled(*pieces) == expected


def test_calls_without_an_id_get_different_ones() -> None:
    first, second = assembled(piece("{}", "f"), piece("{}", "f"))
    assert first[0] != second[0]
    assert first[0].startswith("call_")


def test_arguments_that_are_an_object_become_text() -> None:
    assert assembled({"id": "a", "function": {"name": "f", "arguments": {"ä": 1}}}) == [("a", "f", '{"ä": 1}')]


@pytest.mark.parametrize("broken", [{"index": []}, {"index": "0"}, {"function": "f"}, {"function": ["f"]}])
def test_what_is_not_a_call_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises((TypeError, AttributeError)):
        ToolCalls().add(broken)


def test_a_call_without_a_name_is_refused() -> None:
    calls = ToolCalls()
    calls.add({"id": "a"})
    with pytest.raises(KeyError):
        calls.functions()


@pytest.mark.parametrize("numbered", [True, False])
@given(texts=st.lists(st.text(min_size=1), min_size=1, max_size=5), size=st.integers(1, 4))
def test_however_arguments_are_cut_they_are_the_same(texts: list[str], size: int, *, numbered: bool) -> None:
    texts = [text for text in texts if text.strip()] or ["{}"]
    calls = ToolCalls()
    for number, text in enumerate(texts):
        index = {"index": number} if numbered else {}
        calls.add(piece("", "f", id=f"c{number}") | index)
        for at in range(0, len(text), size):
            calls.add(piece(text[at : at + size]) | index)
    assert [call["function"]["arguments"] for call in calls.functions()] == texts
