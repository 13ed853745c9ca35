"""Requests of which only the text matters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from windfall import CompletionRequest


def request(text: str | list[Any] = "hi", **fields: Any) -> CompletionRequest:
    """A request for the model `m` unless told otherwise."""
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **fields}
    return CompletionRequest.model_validate(body)


def requests(count: int, **fields: Any) -> Iterator[CompletionRequest]:
    """Requests that differ in their text and their custom_id."""
    for n in range(1, count + 1):
        yield request(f"row {n}", custom_id=f"c{n}", **fields)
