"""Ending tasks and waiting for events, without Python 3.11's two traps.

In 3.11, `asyncio.wait_for` swallows a cancellation that coincides with the end of what it waits for
(https://github.com/python/cpython/issues/86296), so a task may survive one `cancel()`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

#: Seconds after which a task that is still running is cancelled again.
_AGAIN: Final = 0.1


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended; their exceptions are ignored."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN)


async def wait_for(event: asyncio.Event, within: float) -> bool:
    """Wait for an event for at most `within` seconds; returns whether it is set."""
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
