"""Anthropic batch lines -> requests whose body is Anthropic's.

A line is `{"custom_id", "params": {…}}` (https://platform.claude.com/docs/en/api/creating-message-batches). Its params
go to an Anthropic API as they are; for everything else, `windfall.translation` says them in OpenAI's words.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError

from windfall.anthropic_body import AnthropicBody
from windfall.errors import InvalidRequest
from windfall.explain import explain, unknown_field, vocabulary
from windfall.fields import without_empty_refused
from windfall.request import anthropic_row

_ENVELOPE: Final = frozenset({"custom_id", "params"})
_WORDS: Final = vocabulary(AnthropicBody)


def is_anthropic_line(row: dict[str, Any]) -> bool:
    """Whether this row is an Anthropic batch line."""
    return "params" in row


def unwrap(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a request, the line's `custom_id` included. Raises `InvalidRequest`."""
    for name in row:
        if name not in _ENVELOPE:
            raise InvalidRequest(unknown_field(name, _ENVELOPE), field=name)
    params = row["params"]
    if not isinstance(params, dict):
        raise InvalidRequest("must be a JSON object", field="params")
    fields = anthropic_row(without_empty_refused(params))
    try:
        fields["anthropic"] = AnthropicBody.model_validate(fields["anthropic"])
    except ValidationError as exc:
        raise explain(exc, fields["anthropic"], _WORDS, "params.") from None  # the cause quotes the prompt
    return fields | {"custom_id": row["custom_id"]} if "custom_id" in row else fields
