"""Running a command's coroutine, and the Producer that it talks to."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from windfall.broker.connection import redact
from windfall.cli.screen.console import note
from windfall.config.settings import Settings, load_settings
from windfall.producer import Producer

T = TypeVar("T")

_AGAIN = 0.2  # seconds


class Terminated(BaseException):
    """SIGTERM came, and everything was put away."""


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end. SIGINT and SIGTERM cancel it, so that it can put away what it holds, and then end the command.

    Raises `KeyboardInterrupt` or `Terminated` then.
    """
    told: list[signal.Signals] = []

    async def guarded() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def cancel() -> None:
            # Again and again: before Python 3.12 a cancellation can be lost inside redis-py and asyncio's time-outs.
            if task is not None and not task.done():
                task.cancel()
                loop.call_later(_AGAIN, cancel)

        def on_signal(number: signal.Signals) -> None:
            told.append(number)
            if told.count(signal.SIGINT) > 1:
                raise KeyboardInterrupt  # whoever presses Ctrl-C twice wants no tidying up
            if len(told) == 1:
                cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal, number)
        return await work

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        if told:
            raise (KeyboardInterrupt if told[0] is signal.SIGINT else Terminated) from None
        raise


def settings_told(redis: str | None, config: Path | None) -> Settings:
    """The settings of these flags. Says so where the file of the working folder decides where rows go."""
    settings = load_settings(redis=redis, config=config)
    if settings.folder_decides:
        note(f"using {redact(settings.redis)}, which {settings.source} in this folder names")
    return settings


def producer(redis: str | None, config: Path | None) -> Producer:
    """The Producer of these flags."""
    settings = settings_told(redis, config)
    return Producer(settings.redis, limits=settings.limits)
