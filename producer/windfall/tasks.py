"""Ending tasks and waiting for events, with Python 3.11's two traps avoided.

There `asyncio.wait_for` swallows a cancellation that comes in the moment in which what it waits for is done
(https://github.com/python/cpython/issues/86296), so that a task may outlive one `cancel()`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

#: Seconds after which a task that is still there is cancelled again.
_AGAIN = 0.1


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended; what they raise is of no interest any more."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN)


async def wait_for(event: asyncio.Event, within: float) -> bool:
    """Wait for an event, at most so many seconds; returns whether it is set."""
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
