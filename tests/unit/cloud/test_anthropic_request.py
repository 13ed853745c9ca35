"""OpenAI bodies as Anthropic's, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from windfall.errors import RequestRejected, UnsupportedParameter
from windfall_worker.cloud.anthropic_request import DEFAULT_MAX_TOKENS, messages_body

HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}


def made(messages: list[dict[str, Any]] | None = None, **fields: Any) -> dict[str, Any]:
    return messages_body({"model": "claude-opus-5", "messages": messages or HI, **fields})


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def test_the_least_body_is_the_model_the_turn_and_a_limit() -> None:
    assert made() == {
        "model": "claude-opus-5",
        "max_tokens": DEFAULT_MAX_TOKENS,
        "messages": [{"role": "user", "content": [text("hi")]}],
    }


@pytest.mark.parametrize("fields", [{"max_tokens": 7}, {"max_completion_tokens": 7}])
def test_either_limit_is_the_limit(fields: dict[str, Any]) -> None:
    assert made(**fields)["max_tokens"] == 7


def test_all_system_messages_become_the_system_text() -> None:
    body = made(
        [
            {"role": "system", "content": "one"},
            {"role": "developer", "content": [text("two")]},
            *HI,
            {"role": "system", "content": "three"},
        ]
    )
    assert body["system"] == "one\ntwo\nthree"
    assert len(body["messages"]) == 1


def test_consecutive_messages_of_one_role_are_one_turn() -> None:
    body = made([*HI, *HI, {"role": "assistant", "content": "yes?"}, {"role": "assistant", "content": "?"}, *HI])
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][0]["content"] == [text("hi"), text("hi")]
    assert body["messages"][1]["content"] == [text("yes?"), text("?")]


def test_tool_calls_and_their_results_go_both_into_turns() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    body = made(
        [
            *HI,
            {"role": "assistant", "content": "", "tool_calls": [call, call | {"id": "c2"}]},
            {"role": "tool", "tool_call_id": "c1", "content": "one"},
            {"role": "tool", "tool_call_id": "c2", "content": [text("two")]},
            {"role": "user", "content": "and?"},
        ],
        tools=[TOOL],
    )
    _, assistant, user = body["messages"]
    use = {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1}}
    assert assistant["content"] == [use, use | {"id": "c2"}]
    assert user["content"] == [
        {"type": "tool_result", "tool_use_id": "c1", "content": [text("one")]},
        {"type": "tool_result", "tool_use_id": "c2", "content": [text("two")]},
        text("and?"),
    ]
    assert body["tools"] == [{"name": "f", "description": "d", "input_schema": {"type": "object"}}]


def test_a_tool_without_parameters_has_an_empty_schema() -> None:
    body = made(tools=[{"type": "function", "function": {"name": "f", "strict": True}}])
    assert body["tools"] == [{"name": "f", "strict": True, "input_schema": {"type": "object", "properties": {}}}]


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        ("auto", None, {"type": "auto"}),
        ("none", None, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ({"type": "function", "function": {"name": "f"}}, None, {"type": "tool", "name": "f"}),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ("none", False, {"type": "none"}),
    ],
)
def test_tool_choices_are_translated(choice: Any, parallel: Any, expected: Any) -> None:
    assert made(tools=[TOOL], tool_choice=choice, parallel_tool_calls=parallel).get("tool_choice") == expected


@pytest.mark.parametrize(("stop", "expected"), [("a", ["a"]), (["a", "b"], ["a", "b"]), (("a",), ["a"])])
def test_stop_words_are_stop_sequences(stop: Any, expected: list[str]) -> None:
    assert made(stop=stop)["stop_sequences"] == expected


def test_a_temperature_of_zero_is_kept() -> None:
    assert made(temperature=0)["temperature"] == 0
    assert made(temperature=0.0)["temperature"] == 0


def test_the_default_temperature_is_left_out_so_that_top_p_may_stand() -> None:
    body = made(temperature=1.0, top_p=0.9)
    assert "temperature" not in body
    assert body["top_p"] == 0.9


def test_a_temperature_above_one_is_refused_and_not_clamped() -> None:
    with pytest.raises(UnsupportedParameter, match=r"temperature 1\.5"):
        made(temperature=1.5)


def test_images_go_as_base64_or_as_addresses() -> None:
    parts = [
        text("what is it?"),
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "auto"}},
    ]
    content = made([{"role": "user", "content": parts}])["messages"][0]["content"]
    assert content[1]["source"] == {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    assert content[2]["source"] == {"type": "url", "url": "https://x/y.png"}


@pytest.mark.parametrize(
    ("model", "effort", "limit", "expected"),
    [
        ("claude-opus-5", "high", 100, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
        ("claude-opus-5", "minimal", 100, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        ("claude-opus-5", "none", 100, {"thinking": {"type": "disabled"}}),
        ("claude-haiku-4-5", "low", 4096, {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("claude-haiku-4-5-20251001", "high", 4096, {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("claude-sonnet-4-20250514", "low", 9000, {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("claude-3-7-sonnet-latest", "minimal", 4096, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("claude-sonnet-4-6", "low", 100, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
    ],
)
def test_reasoning_effort_is_thinking(model: str, effort: str, limit: int, expected: dict[str, Any]) -> None:
    body = messages_body({"model": model, "messages": HI, "reasoning_effort": effort, "max_tokens": limit})
    assert {name: body[name] for name in ("thinking", "output_config") if name in body} == expected


def test_anthropics_own_thinking_field_goes_as_it_is() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2000}
    assert made(thinking=thinking)["thinking"] == thinking


def test_a_json_schema_is_an_output_format() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    body = made(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": schema}}


def test_the_user_is_the_metadatas_user_id() -> None:
    assert made(user="u-1")["metadata"] == {"user_id": "u-1"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 0),
        ("seed", 7),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("presence_penalty", 0.1),
        ("frequency_penalty", -1),
        ("repetition_penalty", 1.1),
        ("logit_bias", {"1": 5}),
        ("min_p", 0.1),
        ("n", 2),
        ("chat_template_kwargs", {"enable_thinking": False}),
        ("response_format", {"type": "json_object"}),
        ("tool_choice", {"type": "allowed_tools"}),
        ("something_new", 1),
    ],
)
def test_what_cannot_be_translated_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UnsupportedParameter, match=field):
        made(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("logprobs", False), ("presence_penalty", 0.0), ("n", 1), ("top_k", 0), ("top_p", 1.0), ("logit_bias", {})],
)
def test_what_asks_for_nothing_is_not_refused(field: str, value: Any) -> None:
    assert made(**{field: value}) == made()


@pytest.mark.parametrize(
    ("message", "error", "words"),
    [
        ({"role": "user", "content": "hi", "name": "bob"}, UnsupportedParameter, r"messages\[0\].name"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x", "detail": "low"}}]},
            UnsupportedParameter,
            "detail",
        ),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://x"}}]}, RequestRejected, "url"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, UnsupportedParameter, "input_audio"),
        ({"role": "system", "content": "alone"}, RequestRejected, "not a system message"),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{"}}]},
            RequestRejected,
            r"tool_calls\[0\]",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "[]"}}]},
            RequestRejected,
            "object",
        ),
    ],
)
def test_a_message_that_cannot_be_translated_is_refused_with_its_place(
    message: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        made([message])


def test_thinking_that_leaves_no_room_for_an_answer_is_refused() -> None:
    with pytest.raises(UnsupportedParameter, match="2048"):
        messages_body({"model": "claude-haiku-4-5", "messages": HI, "reasoning_effort": "low", "max_tokens": 500})


def test_the_request_that_was_given_is_not_changed() -> None:
    messages = [{"role": "user", "content": [text("a")]}, {"role": "user", "content": [text("b")]}]
    made(messages)
    assert messages == [{"role": "user", "content": [text("a")]}, {"role": "user", "content": [text("b")]}]


MARK = {"type": "ephemeral", "ttl": "1h"}
SIGNED = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "xx"}]


def test_marks_for_the_cache_are_kept_where_they_are() -> None:
    body = made(
        [
            {"role": "system", "content": "one"},
            {"role": "system", "content": [text("two"), text("three") | {"cache_control": MARK}]},
            {"role": "user", "content": [text("a") | {"cache_control": MARK}, text("b")]},
            {"role": "assistant", "content": "c", "cache_control": MARK},
            *HI,
        ],
        tools=[TOOL | {"cache_control": MARK}, {"type": "function", "function": {"name": "g", "cache_control": MARK}}],
    )
    assert body["system"] == [text("one"), text("two"), text("three") | {"cache_control": MARK}]
    assert body["messages"][0]["content"] == [text("a") | {"cache_control": MARK}, text("b")]
    assert body["messages"][1]["content"] == [text("c") | {"cache_control": MARK}]
    assert [tool["cache_control"] for tool in body["tools"]] == [MARK, MARK]


def test_signed_thinking_comes_first_in_its_turn() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turn = {"role": "assistant", "content": "so", "reasoning": "hm", "thinking_blocks": SIGNED, "tool_calls": [call]}
    body = made([*HI, turn, {"role": "tool", "tool_call_id": "c", "content": "4"}])
    use = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    assert body["messages"][1]["content"] == [*SIGNED, text("so"), use]


def test_files_are_documents() -> None:
    parts = [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
        {"type": "file", "file": {"file_data": "data:text/plain;charset=utf-8;base64,aGk="}},
    ]
    assert made([{"role": "user", "content": parts}])["messages"][0]["content"] == [
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
    ]


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"type": "file", "file": {"file_id": "f"}}, "file_data"),
        ({"type": "file", "file": {"file_data": "data:image/png;base64,AA"}}, "image/png"),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, "input_audio"),
    ],
)
def test_a_part_that_it_cannot_have_is_refused_by_name(part: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedParameter, match=rf"messages\[0\].*{named}"):
        made([{"role": "user", "content": [part]}])


def test_a_refusal_of_an_earlier_turn_is_text() -> None:
    parts = [text("no"), {"type": "refusal", "refusal": "never"}]
    body = made([*HI, {"role": "assistant", "content": parts, "refusal": "sorry"}, *HI])
    assert body["messages"][1]["content"] == [text("no"), text("never"), text("sorry")]


def test_a_tool_of_anthropics_own_stays_as_it_is() -> None:
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    assert made(tools=[tool])["tools"] == [tool]


@pytest.mark.parametrize("field", ["custom", "audio"])
def test_what_only_openai_has_in_a_turn_is_refused_by_name(field: str) -> None:
    call = {"id": "c", "type": "custom", "custom": {"name": "g", "input": "x"}}
    turns: dict[str, dict[str, Any]] = {"custom": {"tool_calls": [call]}, "audio": {"audio": {"id": "a"}}}
    with pytest.raises(UnsupportedParameter, match=field):
        made([*HI, {"role": "assistant", **turns[field]}])


def test_an_effort_beside_adaptive_thinking_is_the_outputs_effort() -> None:
    body = made(thinking={"type": "adaptive"}, reasoning_effort="max")
    assert (body["thinking"], body["output_config"]) == ({"type": "adaptive"}, {"effort": "max"})
    with pytest.raises(RequestRejected, match="contradict"):
        made(thinking={"type": "disabled"}, reasoning_effort="high")


def test_a_budget_for_thinking_leaves_room_for_the_answer() -> None:
    thinking = {"type": "enabled", "budget_tokens": 10_000}
    assert made(thinking=thinking)["max_tokens"] == 10_000 + DEFAULT_MAX_TOKENS
    assert made(thinking=thinking, max_tokens=12_000)["max_tokens"] == 12_000
