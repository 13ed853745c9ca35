"""The event loop of programs that run jobs: uvloop where it is installed, as the worker extra does but on Windows."""

from __future__ import annotations

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A new loop, for `asyncio.Runner`."""
    try:
        import uvloop  # noqa: PLC0415 - a part of an extra
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
