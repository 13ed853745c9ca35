"""Anthropic batch lines in OpenAI's words."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from windfall.formats import read_rows
from windfall.request import CompletionRequest
from windfall.row import InvalidRow

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]


def read(params: dict[str, Any]) -> CompletionRequest | InvalidRow:
    line = {"custom_id": "a", "params": {"model": "m", "max_tokens": 9, "messages": HELLO} | params}
    (row,) = read_rows(io.BytesIO(json.dumps(line).encode()))
    return row


def body(**params: Any) -> dict[str, Any]:
    row = read(params)
    assert isinstance(row, CompletionRequest), row.error
    assert row.custom_id == "a"
    return row.body()


def refused(**params: Any) -> tuple[str | None, str]:
    row = read(params)
    assert isinstance(row, InvalidRow)
    return row.error.field, row.error.reason


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
    assert body(system=blocks)["messages"][0] == {"role": "system", "content": parts}


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
    row = read({"thinking": {"type": kind, "budget_tokens": 1024}})
    assert isinstance(row, CompletionRequest)
    assert row.template_options == {"enable_thinking": on}
    assert row.body()["thinking"] == {"type": kind, "budget_tokens": 1024}


def test_an_output_config_is_an_effort_and_a_response_format() -> None:
    found = body(output_config={"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}})
    assert found["reasoning_effort"] == "low"
    assert found["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_fields_that_cannot_change_the_answer_are_accepted_and_named() -> None:
    row = read({"service_tier": "auto", "speed": "fast", "diagnostics": {"previous_message_id": None}})
    assert isinstance(row, CompletionRequest)
    assert row.ignored == ("diagnostics", "service_tier", "speed")
    assert "ignored" not in row.body()


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"thinking": {"type": "sometimes"}}, "params.thinking.type"),
        ({"container": "c"}, "params.container"),
        ({"inference_geo": "eu"}, "params.inference_geo"),
        ({"stop": ["x"]}, "params.stop"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "params.tools.0.type"),
        ({"tool_choice": {"type": "tool"}}, "params.tool_choice.name"),
        ({"system": 5}, "params.system"),
        ({"max_tokens": 0}, "params.max_tokens"),
        ({"temperature": 1.5}, "params.temperature"),
        ({"messages": []}, "params.messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "params.messages.0.role"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "I"}]}, "params.messages.1.role"),
        ({"messages": [{"role": "user", "content": []}]}, "params.messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "params.messages.0.content.0.type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "thinking", "thinking": "x"}]}]},
            "params.messages.0.content.0.type",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "is_error": True}]}
                ]
            },
            "params.messages.0.content.0.is_error",
        ),
        ({"model": None}, "params.model"),
    ],
)
def test_what_openai_cannot_say_is_refused_by_name(params: dict[str, Any], field: str) -> None:
    found, reason = refused(**params)
    assert found == field
    assert reason
