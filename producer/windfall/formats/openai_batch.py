"""OpenAI Batch lines and bare bodies -> request bodies.

A line is `{"custom_id", "method": "POST", "url": "/v1/chat/completions", "body": {…}}`
(https://platform.openai.com/docs/api-reference/batch/request-input); a bare body is what `body` holds.
"""

from __future__ import annotations

from typing import Any, Final

from windfall.errors import InvalidRequest
from windfall.explain import unknown_field

_URL: Final = "/v1/chat/completions"
_ENVELOPE: Final = frozenset({"custom_id", "method", "url", "body"})


def is_openai_line(row: dict[str, Any]) -> bool:
    """Whether this row is an OpenAI Batch line rather than a bare body."""
    return not row.keys().isdisjoint(("body", "method", "url"))


def unwrap(row: dict[str, Any]) -> dict[str, Any]:
    """The body of an OpenAI Batch line, including the line's `custom_id`. Raises `InvalidRequest`."""
    for name in row:
        if name not in _ENVELOPE:
            raise InvalidRequest(unknown_field(name, _ENVELOPE), field=name)
    if row.get("method", "POST") != "POST":
        raise InvalidRequest("must be 'POST'", field="method")
    if row.get("url", _URL) != _URL:
        raise InvalidRequest(f"must be {_URL!r}; Windfall runs chat completions only", field="url")
    body = row.get("body")
    if not isinstance(body, dict):
        raise InvalidRequest("is missing" if body is None else "must be a JSON object", field="body")
    if "custom_id" not in row:
        return body
    if body.get("custom_id", row["custom_id"]) != row["custom_id"]:
        raise InvalidRequest("differs from the line's custom_id", field="body.custom_id")
    return body | {"custom_id": row["custom_id"]}
