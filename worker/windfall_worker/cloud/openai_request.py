"""A request as the fields of an OpenAI body, without those that the endpoint has no use for."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, Final

from windfall.errors import InvalidRequest, UnsupportedParameter
from windfall.request import CompletionRequest
from windfall.translation import in_openai_words

#: Fields that the queue handles itself: the result carries `metadata`, and a stream is used if the job has a follower.
_OURS: Final = frozenset({"model", "metadata", "stream", "stream_options"})


def chat_fields(request: CompletionRequest, known: AbstractSet[str]) -> dict[str, Any]:
    """The fields, `messages` among them, without the model.

    `known`: the fields of `windfall.fields.PASSED_OVER` and `HINTS`, and `thinking`, that the endpoint has a use for.
    Raises `UnsupportedParameter` for what OpenAI's words cannot say.
    """
    try:
        said = in_openai_words(request)
    except InvalidRequest as exc:
        raise UnsupportedParameter(f"{exc} (the row is in Anthropic's words, this API takes OpenAI's)") from None
    body = said.body()
    # OpenAI takes metadata for completions that it stores, and refuses it otherwise.
    stored = {"metadata"} if "store" in known and said.store else frozenset()
    left_out = {*_OURS, *said.passed_over(known), *({"thinking"} - known)} - stored
    fields = {name: value for name, value in body.items() if name not in left_out}
    if unknown := said.hints() - known:
        fields["messages"] = [_without(message, unknown) for message in fields["messages"]]
        if tools := fields.get("tools"):
            fields["tools"] = [_tool_without(tool, unknown) for tool in tools]
    return fields


def _without(message: dict[str, Any], names: AbstractSet[str]) -> dict[str, Any]:
    kept = {name: value for name, value in message.items() if name not in names}
    if isinstance(parts := message.get("content"), list):
        kept["content"] = _text_alone([{name: part[name] for name in part if name not in names} for part in parts])
    return kept


def _text_alone(parts: list[dict[str, Any]]) -> Any:
    """A lone text as a string: it was a part for the sake of a mark, and not every server takes parts."""
    alone = len(parts) == 1 and parts[0].keys() == {"type", "text"}
    return parts[0]["text"] if alone else parts


def _tool_without(tool: dict[str, Any], names: AbstractSet[str]) -> dict[str, Any]:
    kept = {name: value for name, value in tool.items() if name not in names}
    if isinstance(function := kept.get("function"), dict):
        kept["function"] = {name: value for name, value in function.items() if name not in names}
    return kept
