"""Running a command's coroutine, and the Producer that it uses."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from windfall.broker.connection import redact
from windfall.cli.screen.console import note
from windfall.config.settings import Settings, load_settings
from windfall.producer import Producer

T = TypeVar("T")

_AGAIN: Final = 0.2  # seconds


class Terminated(BaseException):
    """SIGTERM arrived, and everything was cleaned up."""


def run_async(
    work: Coroutine[Any, Any, T], *, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> T:
    """Run it to its end. SIGINT and SIGTERM cancel it, so that it can clean up, and then end the command.

    Raises `KeyboardInterrupt` or `Terminated` in that case.
    """
    told: list[signal.Signals] = []

    async def guarded() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def cancel() -> None:
            # Repeatedly: before Python 3.12 a cancellation can be lost inside redis-py and asyncio's timeouts.
            if task is not None and not task.done():
                task.cancel()
                loop.call_later(_AGAIN, cancel)

        def on_signal(number: signal.Signals) -> None:
            told.append(number)
            if told.count(signal.SIGINT) > 1:
                raise KeyboardInterrupt  # a second Ctrl-C means: skip the clean-up
            if len(told) == 1:
                cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal, number)
        return await work

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(guarded())
    except asyncio.CancelledError:
        if told:
            raise (KeyboardInterrupt if told[0] is signal.SIGINT else Terminated) from None
        raise


def settings_told(redis: str | None, config: Path | None) -> Settings:
    """The settings of these flags. Notes on stderr when a file in the working folder chooses the Redis."""
    settings = load_settings(redis=redis, config=config)
    if settings.folder_decides:
        note(f"using {redact(settings.redis)}, as set by {settings.source} in this folder")
    return settings


def producer(redis: str | None, config: Path | None) -> Producer:
    """A Producer with these flags."""
    settings = settings_told(redis, config)
    return Producer(settings.redis, limits=settings.limits)
