"""Notices that the machine slept: one clock advanced while the other stood still."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from windfall.runtime.boottime import boottime

logger = logging.getLogger("windfall.citizen")

#: Seconds between checks.
_PERIOD: Final = 5.0
#: Seconds of sleep that are worth a line in the log.
_LEAST: Final = 5.0


async def log_sleep(
    *,
    period: float = _PERIOD,
    awake: Callable[[], float] = time.monotonic,
    always: Callable[[], float] = boottime,
) -> None:
    """Log, until cancelled, each time the machine has slept, and for how long."""
    before = always() - awake()
    while True:
        await asyncio.sleep(period)
        behind = always() - awake()
        if behind - before >= _LEAST:
            logger.warning("this machine slept for %.0f s", behind - before)
        before = behind
