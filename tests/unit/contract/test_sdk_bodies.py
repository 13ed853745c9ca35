"""Every body that the SDKs' own types allow: sent as it is, refused by name, or what is left out is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming as AnthropicParams
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as OpenAIParams
from pydantic import ValidationError

from helpers.typed_dicts import variants
from windfall.errors import BackendError, InvalidRequest
from windfall.explain import explain, vocabulary
from windfall.fields import HINTS, PASSED_OVER
from windfall.request import CompletionRequest
from windfall.translation import in_openai_words, left_out
from windfall.wire import MINOR, decode_job, encode_job
from windfall_worker.cloud.anthropic_request import messages_body
from windfall_worker.cloud.openai_request import chat_fields

ANTHROPIC = list(variants(AnthropicParams))
OPENAI = list(variants(OpenAIParams))
#: What is refused when a row is read, and how often: the top of the field's path.
REFUSED_OF_OPENAI = {"audio": 18, "moderation": 10, "functions": 3, "function_call": 3, "messages": 9, "modalities": 1}
OWN = (PASSED_OVER - {"ignore_eos"}) | {"prompt_cache_breakpoint"}
COMPATIBLE = frozenset({"ignore_eos", "user", "verbosity"}) | (HINTS - {"prompt_cache_breakpoint"})
TO_ANTHROPIC = frozenset({"user", "thinking", "cache_control", "thinking_blocks"})


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def of_anthropic(body: dict[str, Any]) -> CompletionRequest | str:
    try:
        return CompletionRequest.from_anthropic(body)
    except ValidationError as exc:
        return str(exc.errors()[0]["loc"][-1])


def of_openai(body: dict[str, Any]) -> CompletionRequest | InvalidRequest:
    try:
        return CompletionRequest.model_validate(body)
    except ValidationError as exc:
        return explain(exc, body, vocabulary(CompletionRequest))


def test_there_are_as_many_bodies_as_the_types_have_variants() -> None:
    assert len(ANTHROPIC) > 1000
    assert len(OPENAI) > 200


def test_a_body_of_anthropics_is_kept_as_it_is_or_refused_by_name() -> None:
    refused = []
    for body in ANTHROPIC:
        asked = of_anthropic(body)
        if isinstance(asked, str):
            refused.append(asked)
            continue
        given = {name: value for name, value in body.items() if value is not None and name not in ("model", "stream")}
        assert asked.anthropic is not None
        assert asked.anthropic.body() == given
        assert decode_job(encode_job(asked, 1)).request.anthropic == asked.anthropic
    assert refused == ["user_profile_id", "workspace_id"]


def test_a_body_of_openais_is_kept_as_it_is_or_refused_by_name() -> None:
    refused: dict[str, int] = {}
    for body in OPENAI:
        asked = of_openai(body)
        if isinstance(asked, InvalidRequest):
            assert "top_logprobs needs" in str(asked) or asked.field
            top = (asked.field or "").split(".")[0]
            refused[top] = refused.get(top, 0) + 1
            continue
        assert without_nulls(asked.body()) | {"stream": False} == without_nulls(body) | {"stream": False}
        wired = decode_job(encode_job(asked, 1)).request
        assert wired.model_copy(update={"minor": None}) == asked
        assert wired.minor == (MINOR if asked.is_new else None)
    assert refused == REFUSED_OF_OPENAI | {"": 1}


#: What is the default, or comes from an earlier answer: it says nothing to another protocol.
SAYS_NOTHING: dict[str, Any] = {"caller": {"type": "direct"}, "allowed_callers": "direct", "type": "custom"}


def plain(value: Any, without: set[str]) -> Any:
    """A part of a body in the fewest words, and without these fields."""
    if isinstance(value, list):
        plains = [plain(inner, without) for inner in value]
        return plains[0] if len(plains) == 1 and isinstance(plains[0], str | list) else plains
    if not isinstance(value, dict):
        return value
    dropped = without | ({"citations"} if value.get("type") == "text" else set())
    kept = {name: plain(inner, without) for name, inner in value.items() if name not in dropped}
    kept = {name: inner for name, inner in kept.items() if inner not in (None, {}, [], SAYS_NOTHING.get(name))}
    if kept.keys() == {"role", "refusal"}:
        return {"role": kept["role"], "content": kept["refusal"]}
    for name in ("text", "refusal"):
        if kept.keys() == {"type", name}:
            return kept[name]
    if value.get("type") == "document" and kept.keys() == {"type", "source"}:
        return kept["source"].get("content", kept["source"]) if value["source"]["type"] == "content" else kept["source"]
    return kept["data"] if kept.get("media_type") == "text/plain" else kept


def in_words(request: CompletionRequest) -> CompletionRequest | str:
    try:
        return in_openai_words(request)
    except InvalidRequest as exc:
        return exc.field or ""


def test_what_another_protocol_cannot_say_of_anthropics_body_is_refused_or_named() -> None:
    """Two bodies that come out the same differ in nothing but what is named as ignored."""
    said_by: dict[str, Any] = {}
    for body in ANTHROPIC:
        asked = of_anthropic(body)
        if isinstance(asked, str):
            continue
        said = in_words(asked)
        if isinstance(said, str):
            assert said, body
            continue
        came_out = json.dumps([said.body(), said.ignored], sort_keys=True)
        without = {*said.ignored, "model"} | ({"thinking", "data"} if "redacted_thinking" in said.ignored else set())
        meant = plain(body, without)
        assert said_by.setdefault(came_out, meant) == meant, body


@pytest.mark.parametrize("known", [OWN, COMPATIBLE], ids=["openai", "compatible"])
def test_what_an_api_of_openais_protocol_does_not_get_is_named(known: frozenset[str]) -> None:
    for body in OPENAI:
        asked = of_openai(body)
        if isinstance(asked, CompletionRequest):
            named = {*left_out(asked, known), "metadata", "stream", "stream_options", "model", "thinking"}
            assert plain(chat_fields(asked, known), named) == plain(asked.body(), named), body


def test_what_anthropics_api_does_not_get_of_openais_body_is_refused_or_named() -> None:
    said_by: dict[str, Any] = {}
    for body in OPENAI:
        asked = of_openai(body)
        if isinstance(asked, InvalidRequest):
            continue
        try:
            sent = messages_body({"model": "m", **chat_fields(asked, TO_ANTHROPIC)})
        except BackendError:
            continue
        ignored = left_out(asked, TO_ANTHROPIC)
        meant = plain(asked.body(), {*ignored, "metadata", "stream", "stream_options", "model"})
        assert said_by.setdefault(json.dumps([sent, ignored], sort_keys=True), meant) == meant, body
