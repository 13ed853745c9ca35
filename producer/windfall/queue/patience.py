"""Outlasting an outage of Redis by repeating idempotent steps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from windfall.errors import BrokerUnavailable

#: Seconds of an outage before it is reported to the caller.
PATIENCE: Final = 30.0
#: Seconds between the first attempts; they double up to the last value.
_PAUSE_FIRST, _PAUSE_MOST = 0.1, 2.0

_Made = TypeVar("_Made")


async def patiently(step: Callable[[], Awaitable[_Made]]) -> _Made:
    """Repeat a step while it raises `BrokerUnavailable`; an outage shorter than `PATIENCE` is only a delay."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + PATIENCE
    pause = _PAUSE_FIRST
    while True:
        try:
            return await step()
        except BrokerUnavailable:
            if loop.time() > give_up:
                raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_MOST)
