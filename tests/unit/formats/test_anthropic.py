"""Anthropic batch lines: kept as they are, and said in OpenAI's words where another backend runs them."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from windfall.errors import InvalidRequest
from windfall.formats import read_rows
from windfall.request import CompletionRequest
from windfall.row import InvalidRow
from windfall.translation import in_openai_words

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]


def read(params: dict[str, Any]) -> CompletionRequest | InvalidRow:
    line = {"custom_id": "a", "params": {"model": "m", "max_tokens": 9, "messages": HELLO} | params}
    (row,) = read_rows(io.BytesIO(json.dumps(line).encode()))
    return row


def said(**params: Any) -> CompletionRequest:
    row = read(params)
    assert isinstance(row, CompletionRequest), row.error
    assert row.custom_id == "a"
    return in_openai_words(row)


def body(**params: Any) -> dict[str, Any]:
    return said(**params).body()


def test_plain_fields_keep_their_meaning() -> None:
    found = body(temperature=0.5, top_p=0.9, top_k=5, stop_sequences=["x"], metadata={"user_id": "u"}, stream=True)
    assert found == {
        "model": "m",
        "messages": HELLO,
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "stop": ["x"],
        "user": "u",
        "stream": True,
    }


@pytest.mark.parametrize("system", ["be brief", [{"type": "text", "text": "be brief"}]])
def test_the_system_prompt_becomes_the_first_message(system: Any) -> None:
    assert body(system=system)["messages"] == [{"role": "system", "content": "be brief"}, *HELLO]


def test_several_system_blocks_stay_several_parts_and_cache_marks_change_nothing() -> None:
    blocks = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "b"}]
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    found = said(system=blocks)
    assert found.body()["messages"][0] == {"role": "system", "content": parts}
    assert found.ignored == ("cache_control",)


def test_images_become_image_urls() -> None:
    sources = [
        {"type": "base64", "media_type": "image/png", "data": "aGk="},
        {"type": "url", "url": "https://example.com/cat.png"},
    ]
    content = [{"type": "image", "source": source} for source in sources]
    parts = body(messages=[{"role": "user", "content": content}])["messages"][0]["content"]
    assert [part["image_url"]["url"] for part in parts] == ["data:image/png;base64,aGk=", "https://example.com/cat.png"]


def test_tool_use_and_its_result_become_tool_calls_and_tool_messages() -> None:
    messages = [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "looking"},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "sunny"}]},
                {"type": "text", "text": "and now?"},
            ],
        },
    ]
    assert body(messages=messages)["messages"] == [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": "looking",
            "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
            ],
            "reasoning_content": "hm",
        },
        {"role": "tool", "tool_call_id": "t1", "content": "sunny"},
        {"role": "user", "content": "and now?"},
    ]


def test_tools_become_function_tools() -> None:
    schema = {"type": "object", "properties": {}}
    tool = {"name": "f", "description": "d", "input_schema": schema, "type": "custom"}
    function = {"name": "f", "description": "d", "parameters": schema}
    assert body(tools=[tool])["tools"] == [{"type": "function", "function": function}]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_tool_choice_is_said_in_openais_words(choice: dict[str, Any], said: Any) -> None:
    found = body(tool_choice=choice | {"disable_parallel_tool_use": True})
    assert found["tool_choice"] == said
    assert found["parallel_tool_calls"] is False


@pytest.mark.parametrize(("kind", "on"), [("enabled", True), ("adaptive", True), ("disabled", False)])
def test_thinking_turns_the_templates_thinking_on_or_off(kind: str, *, on: bool) -> None:
    row = said(thinking={"type": kind, "budget_tokens": 1024})
    assert row.template_options == {"enable_thinking": on}
    assert row.body()["thinking"] == {"type": kind, "budget_tokens": 1024}


def test_an_output_config_is_an_effort_and_a_response_format() -> None:
    found = body(output_config={"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}})
    assert found["reasoning_effort"] == "low"
    assert found["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_fields_that_cannot_change_the_answer_are_accepted_and_named() -> None:
    row = said(service_tier="auto", speed="fast", diagnostics={"previous_message_id": None})
    assert row.ignored == ("diagnostics", "service_tier", "speed")
    assert "ignored" not in row.body()


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"thinking": {"type": "sometimes"}}, "params.thinking.type"),
        ({"user_profile_id": "p"}, "params.user_profile_id"),
        ({"stop": ["x"]}, "params.stop"),
        ({"stop_sequences": ["x"] * 33}, "params.stop_sequences"),
        ({"tools": [{"name": "f"}]}, "params.tools.0.input_schema"),
        ({"tool_choice": {"type": "tool"}}, "params.tool_choice.name"),
        ({"system": 5}, "params.system"),
        ({"max_tokens": 0}, "params.max_tokens"),
        ({"temperature": 1.5}, "params.temperature"),
        ({"messages": []}, "params.messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "params.messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "params.messages.0.content.0.source"),
        ({"messages": [{"role": "user", "content": [{"type": "film"}]}]}, "params.messages.0.content.0.type"),
        ({"output_config": {"format": {"type": "json"}}}, "params.output_config.format"),
        ({"model": None}, "params.model"),
        ({"stream": "yes"}, "params.stream"),
    ],
)
def test_what_is_no_body_of_anthropics_is_refused_by_name(params: dict[str, Any], field: str) -> None:
    row = read(params)
    assert isinstance(row, InvalidRow)
    assert row.error.field == field
    assert row.error.reason


ASSISTANT = {"role": "assistant", "content": "I"}
PDF_AT_URL = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
CITED = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}


def of_user(block: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [block]}]}


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"container": "c"}, "container"),
        ({"inference_geo": "eu"}, "inference_geo"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0.type"),
        ({"tools": [{"name": "f", "input_schema": {}, "defer_loading": True}]}, "tools.0.defer_loading"),
        ({"tools": [{"name": "f", "input_schema": {}, "allowed_callers": ["x"]}]}, "tools.0.allowed_callers"),
        ({"messages": [*HELLO, ASSISTANT]}, "messages.1.role"),
        ({"messages": [{"role": "user", "content": []}]}, "messages.0.content"),
        (of_user({"type": "thinking", "thinking": "x"}), "messages.0.content.0.type"),
        (of_user({"type": "container_upload", "file_id": "f"}), "messages.0.content.0.type"),
        (of_user({"type": "image", "source": {"type": "file", "file_id": "f"}}), "messages.0.content.0.source.type"),
        (of_user(PDF_AT_URL), "messages.0.content.0.source.type"),
        (of_user(CITED | {"citations": {"enabled": True}}), "messages.0.content.0.citations"),
        ({"messages": [*HELLO, {"role": "assistant", "content": [USE | {"caller": {"type": "x"}}]}, *HELLO]}, "caller"),
        (
            {"messages": [*HELLO, {"role": "assistant", "content": [USE | {"toolset_name": "b"}]}, *HELLO]},
            "toolset_name",
        ),
    ],
)
def test_what_openai_cannot_say_is_taken_for_anthropics_api_and_refused_by_name_elsewhere(
    params: dict[str, Any], field: str
) -> None:
    row = read(params)
    assert isinstance(row, CompletionRequest), row.error
    with pytest.raises(InvalidRequest) as caught:
        in_openai_words(row)
    assert (caught.value.field or "").endswith(field)


def test_documents_and_search_results_are_text_or_files() -> None:
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}
    inner = {"type": "content", "content": [{"type": "text", "text": "y"}]}
    blocks = [
        CITED | {"title": "T", "context": "C"},
        {"type": "document", "source": inner},
        {"type": "document", "source": pdf, "title": "a.pdf"},
        {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "z"}]},
    ]
    (message,) = body(messages=[{"role": "user", "content": blocks}])["messages"]
    assert message["content"] == [
        {"type": "text", "text": "T\nC\n\nx"},
        {"type": "text", "text": "y"},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
        {"type": "text", "text": "t\ns\n\nz"},
    ]


def test_a_tools_error_says_so_in_its_text() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": "no such file", "is_error": True}
    assert body(**of_user(result))["messages"] == [
        {"role": "tool", "tool_call_id": "t", "content": "Error: no such file"}
    ]


def test_signatures_are_left_out_and_named() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "xx"},
        {"type": "text", "text": "y"},
    ]
    found = said(messages=[*HELLO, {"role": "assistant", "content": blocks}, *HELLO])
    assert found.body()["messages"][1] == {"role": "assistant", "content": "y", "reasoning_content": "hm"}
    assert found.ignored == ("redacted_thinking", "signature")
