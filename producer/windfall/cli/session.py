"""Running a command's coroutine, and the Producer that it talks to."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from windfall.producer import Producer
from windfall.settings import load_settings

T = TypeVar("T")


class Terminated(BaseException):
    """SIGTERM came, and everything was put away."""


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end. SIGINT and SIGTERM cancel it, so that it can put away what it holds, and then end the command.

    Raises `KeyboardInterrupt` or `Terminated` then.
    """
    terminated = False

    async def guarded() -> T:
        nonlocal terminated
        task = asyncio.current_task()

        def on_term() -> None:
            nonlocal terminated
            terminated = True
            if task is not None:
                task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_term)
        return await work

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        if terminated:
            raise Terminated from None
        raise


def producer(redis: str | None, config: Path | None) -> Producer:
    """The Producer of these flags."""
    settings = load_settings(redis=redis, config=config)
    return Producer(settings.redis, limits=settings.limits)
