"""An event loop in a thread of its own, for blocking callers: also where one runs already, as in a notebook."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: Seconds after which a waiting caller looks whether it was interrupted; the wait itself costs nothing.
_LOOK: Final = 1.0
_END: Final = object()


class EventThread:
    """Runs coroutines in its thread, and blocks the caller until they have ended. Create it anew after a fork."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="windfall", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises. An interrupt of the caller cancels it, and waits for its clean-up."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return _result(future)
        except KeyboardInterrupt:
            future.cancel()
            with suppress(CancelledError, Exception):
                self.run(_settled())
            raise

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """The items of an async iterator, which is closed when the caller has seen enough."""
        try:
            while (item := self.run(_next(source))) is not _END:
                yield item
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                self.run(close())

    def stop(self) -> None:
        """End the thread; what still runs is cancelled."""
        if self._loop.is_closed():
            return
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _result(future: Future[T]) -> T:
    while True:
        try:
            return future.result(_LOOK)
        except TimeoutError:
            if future.done():
                return future.result()


async def _next(source: AsyncIterator[Any]) -> Any:
    return await anext(source, _END)


async def _settled() -> None:
    """Wait for the clean-up of what was cancelled."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and task.cancelling()]
    if others:
        await asyncio.wait(others, timeout=10)


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
