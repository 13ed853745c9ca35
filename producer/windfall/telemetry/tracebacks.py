"""Tracebacks for a log that must not contain prompts."""

from __future__ import annotations

import traceback


def without_words(exc: BaseException) -> str:
    """The frames and the type of the exception. Its message is omitted because it may quote a prompt."""
    frames = "".join(traceback.format_tb(exc.__traceback__))
    return f"Traceback (most recent call last):\n{frames}{type(exc).__qualname__}"
