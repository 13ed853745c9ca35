"""From tokens to text, reasoning and tool calls, with mlx-lm's own tokenizer, detokenizer and parsers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.models import build_model
from windfall_worker.engine.text import TextRules, TextStream


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from mlx_lm.utils import load_tokenizer  # noqa: PLC0415

    return load_tokenizer(build_model(tmp_path_factory.mktemp("models") / "tiny"))  # type: ignore[no-untyped-call]


def read(tokenizer: Any, text: str, *stops: str, **options: Any) -> TextStream:
    """What becomes of the text when a model writes it token by token; deltas are taken after each."""
    stream = TextRules(tokenizer).stream(stops, **options)
    pieces: list[tuple[str, str]] = []
    for token in tokenizer.encode(text, add_special_tokens=False):
        if stream.add(token):
            break
        pieces.append(stream.take())
    stream.finish()
    pieces.append(stream.take())
    assert "".join(content for content, _ in pieces) == stream.content
    assert "".join(reasoning for _, reasoning in pieces) == stream.reasoning
    return stream


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


@pytest.mark.parametrize("text", ["plain", "ünï\ncödé 🌊", "a < b <tool <thin", "", "x  y", "tail <", "end\n", "ends "])
def test_text_without_markers_comes_out_as_it_is(tokenizer: Any, text: str) -> None:
    stream = read(tokenizer, text)
    assert (stream.content, stream.reasoning, stream.tool_calls) == (text, "", [])


def test_reasoning_is_split_from_the_answer(tokenizer: Any) -> None:
    stream = read(tokenizer, "<think>hm</think>yes")
    assert (stream.reasoning, stream.content) == ("hm", "yes")


def test_reasoning_opened_by_the_prompt_ends_at_its_marker(tokenizer: Any) -> None:
    stream = read(tokenizer, "hm</think>yes", reasoning=True)
    assert (stream.reasoning, stream.content) == ("hm", "yes")


def test_tool_calls_are_parsed_and_get_ids_of_their_own(tokenizer: Any) -> None:
    stream = read(tokenizer, f"<think>t</think>look: {call('add', a=1)}{call('say', text='é')} done")
    first, second = stream.tool_calls
    assert (first.function.name, json.loads(first.function.arguments)) == ("add", {"a": 1})
    assert (second.function.name, second.function.arguments) == ("say", '{"text": "é"}')
    assert first.id != second.id
    assert stream.content == "look:  done"


@pytest.mark.parametrize(
    "broken",
    [
        "<tool_call>{broken</tool_call>",
        "<tool_call>[1]</tool_call>",
        '<tool_call>{"arguments": {}}</tool_call>',
        '<tool_call>{"name": "add", "argum',
    ],
)
def test_what_is_no_tool_call_stays_in_the_content(tokenizer: Any, broken: str) -> None:
    stream = read(tokenizer, f"a{broken}")
    assert (stream.content, stream.tool_calls) == (f"a{broken}", [])


@pytest.mark.parametrize(
    ("text", "stops", "content"),
    [
        ("one END two", ["END"], "one "),
        ("one EN two", ["END"], "one EN two"),
        ("ababac", ["abac"], "ab"),
        ("xyz", ["z", "yz"], "x"),
        ("one EN", ["END"], "one EN"),
        ("a🌊b", ["🌊"], "a"),
        ("line\n\nnext", ["\n\n"], "line"),
        ("<END", ["END"], "<"),
        ("a <tool_call>", ["<tool"], "a "),
        ("two words", [" "], "two"),
    ],
)
def test_a_stop_string_ends_the_text_exactly(tokenizer: Any, text: str, stops: list[str], content: str) -> None:
    stream = read(tokenizer, text, *stops)
    assert stream.content == content
    assert stream.stopped == (content != text)


def test_a_stop_string_counts_in_reasoning_too(tokenizer: Any) -> None:
    stream = read(tokenizer, "<think>hm STOP more", "STOP")
    assert (stream.reasoning, stream.content, stream.stopped) == ("hm", "", True)


def test_a_stop_string_inside_a_tool_call_leaves_its_beginning_in_the_content(tokenizer: Any) -> None:
    stream = read(tokenizer, f"x{call('add', a=1)}", "arguments")
    assert stream.content == 'x<tool_call>{"name": "add", "'
    assert stream.tool_calls == []


def test_streams_of_one_tokenizer_do_not_share_anything(tokenizer: Any) -> None:
    rules = TextRules(tokenizer)
    left, right = rules.stream(), rules.stream(["b"])
    for a, b in zip(tokenizer.encode("left"), tokenizer.encode("abab"), strict=True):
        left.add(a)
        if not right.stopped:
            right.add(b)
    left.finish()
    right.finish()
    assert (left.content, right.content) == ("left", "a")


def test_blank_space_beside_the_markers_of_reasoning_is_no_part_of_the_text(tokenizer: Any) -> None:
    empty = read(tokenizer, "<think>\n\n</think>\n\nan  answer\n")
    assert (empty.reasoning, empty.content) == ("", "an  answer\n")
    full = read(tokenizer, "<think>\none\n\ntwo\n</think>\n\n  answer")
    assert (full.reasoning, full.content) == ("one\n\ntwo", "answer")
    plain = read(tokenizer, "\n  as it is \n")
    assert plain.content == "\n  as it is \n"
