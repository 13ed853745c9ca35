"""How many tokens a request will take: only as good as a rate limiter needs it, and without a tokenizer."""

from __future__ import annotations

from typing import Any, Final

#: Bytes of English text in a token.
_BYTES: Final = 4
_MOST_TOKENS: Final = ("max_completion_tokens", "max_tokens")


def input_tokens(body: Any) -> int:
    """An estimate for the text anywhere in a body."""
    return -(-_bytes(body) // _BYTES)


def output_tokens(fields: dict[str, Any], usual: int) -> int:
    """The most that the request allows, because that is what most endpoints count; `usual` where it names no most."""
    return next((most for name in _MOST_TOKENS if isinstance(most := fields.get(name), int)), usual)


def _bytes(value: Any) -> int:
    if isinstance(value, str):
        # The data of an image says nothing about its tokens; it is charged like a thousand characters.
        if value.startswith("data:"):
            return 1000
        return len(value) if value.isascii() else len(value.encode(errors="replace"))
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, list) else 0
