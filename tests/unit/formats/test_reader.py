"""Reading input files: every way in which a row can be wrong, and none of them ends the file."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windfall.errors import InvalidRequest
from windfall.formats import Overrides, read_rows
from windfall.request import CompletionRequest, Route
from windfall.row import InvalidRow, Row

PROMPT = "the text of a prompt"
GOOD: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}


def rows_of(data: bytes, **options: Any) -> list[Row]:
    return list(read_rows(io.BytesIO(data), **options))


def jsonl(*rows: object) -> bytes:
    return b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)


def only_error(row: object, **options: Any) -> InvalidRow:
    found = rows_of(jsonl(row), **options)
    assert len(found) == 1
    assert isinstance(found[0], InvalidRow), found[0]
    assert PROMPT not in str(found[0].error)
    return found[0]


def test_a_bare_body_becomes_a_request_named_after_its_line() -> None:
    (row,) = rows_of(jsonl(GOOD))
    assert isinstance(row, CompletionRequest)
    assert row.custom_id == "row-1"
    assert row.messages[0].content == PROMPT


def test_an_openai_batch_line_becomes_a_request_with_its_custom_id() -> None:
    (row,) = rows_of(jsonl({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": GOOD}))
    assert isinstance(row, CompletionRequest)
    assert row.custom_id == "a"
    assert row.body() == GOOD


def test_formats_may_be_mixed_line_by_line() -> None:
    anthropic = {"custom_id": "b", "params": GOOD | {"max_tokens": 5}}
    found = rows_of(jsonl(GOOD, {"custom_id": "a", "body": GOOD}, anthropic))
    assert [row.custom_id for row in found] == ["row-1", "a", "b"]
    assert all(isinstance(row, CompletionRequest) for row in found)


def test_a_byte_order_mark_blank_lines_and_windows_line_ends_are_tolerated() -> None:
    line = json.dumps(GOOD).encode()
    found = rows_of(b"\xef\xbb\xbf" + line + b"\r\n\r\n  \n" + line)
    assert [row.custom_id for row in found] == ["row-1", "row-4"]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b"  \r\n"])
def test_a_file_without_any_row_is_empty(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"^in\.jsonl is empty$"):
        rows_of(data, name="in.jsonl")


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"temprature": 1}, "temprature", "unknown field; did you mean 'temperature'?"),
        ({"enable_thinking": True}, "enable_thinking", "chat_template_kwargs"),
        ({"messages": None}, "messages", "must be a list"),
        ({"messages": []}, "messages", "is empty"),
        ({"messages": [{"role": "robot", "content": PROMPT}]}, "messages.0.role", "'assistant' or 'tool', not 'robot'"),
        ({"messages": [{"role": "user"}]}, "messages.0", "needs content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text", "is missing"),
        ({"messages": [{"role": "user", "content": [{"text": PROMPT}]}]}, "messages.0.content.0.type", "is missing"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "messages.0.content.0.type", "not 'audio'"),
        ({"messages": [{"role": "user", "contnt": PROMPT}]}, "messages.0.contnt", "did you mean 'content'?"),
        ({"model": ""}, "model", "at least 1 character"),
        ({"model": None}, "model", "--model"),
        ({"temperature": 3}, "temperature", "less than or equal to 2"),
        ({"temperature": PROMPT}, "temperature", "valid number"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"route": "moon"}, "route", "'local', 'auto' or 'cloud', not 'moon'"),
        ({"priority": 10}, "priority", "less than or equal to 9"),
        ({"metadata": {"a": 1}}, "metadata.a", "valid string"),
    ],
)
def test_a_wrong_field_is_named_with_the_reason(change: dict[str, Any], field: str, reason: str) -> None:
    error = only_error(GOOD | change).error
    assert error.line == 1
    assert error.field == field
    assert reason in error.reason


def test_missing_messages_are_named() -> None:
    assert str(only_error({"model": "m"}).error) == "line 1, field 'messages': is missing"


def test_a_field_of_an_openai_line_is_named_with_its_path() -> None:
    row = only_error({"custom_id": "a", "body": GOOD | {"top_pp": 1}})
    assert row.custom_id == "a"
    assert row.error.field == "body.top_pp"


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"custom_id": "a", "method": "GET", "body": GOOD}, "method"),
        ({"custom_id": "a", "url": "/v1/embeddings", "body": GOOD}, "url"),
        ({"custom_id": "a", "url": "/v1/chat/completions"}, "body"),
        ({"custom_id": "a", "body": "text"}, "body"),
        ({"custom_id": "a", "body": GOOD, "metod": "POST"}, "metod"),
        ({"custom_id": "a", "body": GOOD | {"custom_id": "b"}}, "body.custom_id"),
        ({"custom_id": 7.5, "body": GOOD}, "custom_id"),
        ({"custom_id": True, "body": GOOD}, "custom_id"),
        ({"custom_id": "", "body": GOOD}, "custom_id"),
        ({"custom_id": "x" * 513, "body": GOOD}, "custom_id"),
        ({"custom_id": "a", "params": 7}, "params"),
    ],
)
def test_a_wrong_envelope_is_named(row: object, field: str) -> None:
    assert only_error(row).error.field == field


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"model": ', "not valid JSON"),
        (b"{'model': 1}", "not valid JSON"),
        (b'{"temperature": NaN}', "not valid JSON"),
        (b'{"a": "\\ud800"}', "not valid JSON"),
        (b"[" * 5000, "not valid JSON"),
        (b"[1, 2]", "a row must be a JSON object"),
        (b'"text"', "a row must be a JSON object"),
        (b'{"a": "\xff"}', "not UTF-8: byte 8 of the line is 0xff"),
    ],
)
def test_bytes_that_are_no_json_object_are_an_error_of_their_line_alone(data: bytes, reason: str) -> None:
    good = json.dumps(GOOD).encode()
    first, wrong, last = rows_of(b"\n".join([good, data, good]))
    assert isinstance(first, CompletionRequest)
    assert isinstance(wrong, InvalidRow)
    assert isinstance(last, CompletionRequest)
    assert wrong.line == wrong.error.line == 2
    assert wrong.custom_id == "row-2"
    assert reason in str(wrong.error)


def test_of_two_rows_with_one_custom_id_the_later_is_the_error_under_a_name_of_its_own() -> None:
    first, second = rows_of(jsonl({"custom_id": "a", "body": GOOD}, {"custom_id": "a", "body": GOOD}))
    assert isinstance(first, CompletionRequest)
    assert isinstance(second, InvalidRow)
    assert second.custom_id == "a (line 2)"
    assert str(second.error) == "line 2, field 'custom_id': 'a' is already the custom_id of an earlier row"


def test_a_custom_id_that_is_an_integer_is_its_digits() -> None:
    first, second = rows_of(jsonl({"custom_id": 7, "body": GOOD}, {"custom_id": "7", "body": GOOD}))
    assert isinstance(first, CompletionRequest)
    assert (first.custom_id, second.custom_id) == ("7", "7 (line 2)")
    assert isinstance(second, InvalidRow)


@pytest.mark.parametrize(
    ("custom_id", "called"),
    [(7.5, "7.5 (line 1)"), (["a"], '["a"] (line 1)'), ("x" * 513, "x" * 64 + "… (line 1)"), ("", "row-1")],
)
def test_a_custom_id_that_cannot_be_used_can_still_be_seen(custom_id: object, called: str) -> None:
    row = only_error({"custom_id": custom_id, "body": GOOD})
    assert row.custom_id == called
    assert called in row.error.reason


ARRAY = json.dumps([GOOD] * 20, indent=1).encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"text,label\n" + b"yes,0\n" * 20, "looks like CSV; ask something about each of its rows: --prompt"),
        (b"text\tlabel\n" + b"yes\t0\n" * 3, "looks like TSV"),
        (ARRAY, "looks like a JSON array; write each of its items on a line of its own: jq -c '.[]' in > in.jsonl"),
        (json.dumps([GOOD]).encode(), "looks like a JSON array"),
        (json.dumps(GOOD, indent=1).encode(), "looks like JSON over several lines"),
        (jsonl(*[GOOD] * 20).decode().encode("utf-16"), "looks like UTF-16; convert it first: iconv -f UTF-16"),
        (jsonl(*[GOOD] * 20).decode().encode("utf-16-le"), "looks like UTF-16"),
        (
            gzip.compress(bytes(range(256)) * 400 + jsonl(GOOD)),
            "looks like gzip; unpack it first: gunzip -c in > in.jsonl",
        ),
        (b"just words\n" * 20, "its first 10 lines are not JSON objects (line 1: not valid JSON"),
    ],
)
def test_a_file_that_is_something_else_is_told_of_after_ten_lines(data: bytes, said: str) -> None:
    stream = io.BytesIO(data)
    with pytest.raises(InvalidRequest) as caught:
        list(read_rows(stream, name="in"))
    assert said in str(caught.value)
    assert str(caught.value).startswith("in is not JSON Lines")


def test_bad_lines_at_the_beginning_of_a_good_file_are_rows_of_their_own() -> None:
    found = rows_of(b"bad\n" * 9 + jsonl(GOOD) + b"bad\n" * 20)
    assert [row.custom_id for row in found] == [f"row-{n}" for n in range(1, 31)]
    assert sum(isinstance(row, CompletionRequest) for row in found) == 1


def test_a_made_up_name_never_meets_one_of_the_file() -> None:
    found = rows_of(jsonl({"custom_id": "row-2", "body": GOOD}, GOOD, GOOD))
    assert len({row.custom_id for row in found}) == 3


def test_a_row_larger_than_the_limit_is_an_error_and_reading_goes_on() -> None:
    large = GOOD | {"user": "x" * 5000}
    found = rows_of(jsonl(GOOD, large, GOOD), max_row_bytes=1000)
    assert [isinstance(row, InvalidRow) for row in found] == [False, True, False]
    assert str(found[1].error) == "line 2: the row is larger than 1,000 bytes (setting max_row_bytes)"  # type: ignore[union-attr]  # known to be invalid


def test_a_last_row_larger_than_the_limit_needs_no_line_end() -> None:
    (row,) = rows_of(b"x" * 70_000, max_row_bytes=1000)
    assert isinstance(row, InvalidRow)


def test_a_row_of_30_mb_is_never_in_memory_as_a_whole() -> None:
    limit = 1 << 20
    stream = io.BytesIO(b'{"a":"' + b"x" * (30 << 20) + b'"}\n' + json.dumps(GOOD).encode())
    tracemalloc.start()
    first, second = read_rows(stream, max_row_bytes=limit)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(first, InvalidRow)
    assert isinstance(second, CompletionRequest)
    assert peak < 4 * limit


def test_overrides_replace_what_rows_say_and_fill_what_they_do_not_say() -> None:
    overrides = Overrides(model="other", route=Route.LOCAL, priority=3)
    nameless = {"messages": GOOD["messages"]}
    anthropic = {"custom_id": "b", "params": nameless}
    for row in rows_of(jsonl(GOOD, nameless, anthropic), overrides=overrides):
        assert isinstance(row, CompletionRequest)
        assert (row.model, row.route, row.priority) == ("other", Route.LOCAL, 3)


@given(st.lists(st.binary(max_size=200)))
def test_no_bytes_crash_the_reader(lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    try:
        found = rows_of(data, max_row_bytes=100)
    except InvalidRequest as exc:
        assert "is empty" in str(exc) or "is not JSON Lines" in str(exc)  # noqa: PT017 - the other outcome is as good
        return
    assert len(found) <= data.count(b"\n") + 1
    assert all(row.custom_id for row in found)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["model", "messages", "temperature", "stop", "tools", "custom_id", "body", "params", "url", "system", "route"]


@given(st.dictionaries(st.sampled_from(FIELDS), anything))
def test_no_json_crashes_the_reader(row: dict[str, Any]) -> None:
    (found,) = rows_of(jsonl(row))
    assert isinstance(found, InvalidRow)
    assert found.error.line == 1


@given(st.dictionaries(st.sampled_from([*CompletionRequest.model_fields]), anything))
def test_no_body_crashes_the_reader(change: dict[str, Any]) -> None:
    (found,) = rows_of(jsonl({"custom_id": "a", "body": GOOD | change}))
    assert isinstance(found, InvalidRow | CompletionRequest)
