"""Waiting for what another task or process does.

How long it takes says how busy the machine is, and nothing about the code: only what never comes is a failure.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

#: Seconds after which what was waited for counts as never. A loaded machine needs a few.
PATIENCE = 60.0
_LOOK = 0.02


async def eventually(condition: Callable[[], Any], what: str = "what was waited for", within: float = PATIENCE) -> Any:
    """What `condition()`, which may be a coroutine, gives as soon as it is truthy."""
    async with asyncio.timeout(within) as limit:
        try:
            while not (value := await _asked(condition)):  # noqa: ASYNC110 - it comes from another process
                await asyncio.sleep(_LOOK)
        except asyncio.CancelledError:
            if limit.expired():
                raise AssertionError(_never(what, within)) from None
            raise
    return value


def until(condition: Callable[[], Any], what: str = "what was waited for", within: float = PATIENCE) -> Any:
    """The same for a test without an event loop."""
    end = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < end, _never(what, within)
        time.sleep(_LOOK)
    return value


async def _asked(condition: Callable[[], Any]) -> Any:
    value = condition()
    return await value if inspect.isawaitable(value) else value


def _never(what: str, within: float) -> str:
    return f"{what}: not within {within:g} s"
