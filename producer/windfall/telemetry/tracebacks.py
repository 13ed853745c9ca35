"""A failure for a log that holds no prompts."""

from __future__ import annotations

import traceback


def without_words(exc: BaseException) -> str:
    """Where it happened and of which type it is. What the exception itself says may quote a prompt."""
    frames = "".join(traceback.format_tb(exc.__traceback__))
    return f"Traceback (most recent call last):\n{frames}{type(exc).__qualname__}"
