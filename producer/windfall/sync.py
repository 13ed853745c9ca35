"""A blocking `Producer`, for scripts and notebooks without `async`.

    from windfall.sync import Producer

    with Producer("redis://mini.local:6379") as producer:
        job_id = producer.enqueue(CompletionRequest(model="small", messages=[...]))
        result = producer.wait(job_id, timeout=60)

It has every method of `windfall.Producer`, made from it: what returns an async iterator there returns an iterator
here. `sync.pyi`, which tells type checkers so, is generated (`tests/typing/sync_stub.py`). In a notebook it may be used
without `with`: it connects with the first call, and `close` ends it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from windfall import producer as _async
from windfall.runtime.event_thread import EventThread


class Producer:
    """`windfall.Producer` for blocking code; its methods may be called from several threads."""

    def __init__(self, redis: str, **options: Any) -> None:
        self._options = (redis, options)
        self._thread: EventThread | None = None
        self._producer: Any = None

    def __enter__(self) -> Self:
        self._connected()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. A later call opens a new one."""
        thread, producer = self._thread, self._producer
        self._thread = self._producer = None
        if thread is not None:
            try:
                thread.run(producer.__aexit__(None, None, None))
            finally:
                thread.stop()

    def _connected(self) -> tuple[EventThread, Any]:
        if self._thread is None:
            redis, options = self._options
            thread = EventThread()
            producer = _async.Producer(redis, **options)
            try:
                thread.run(producer.__aenter__())
            except BaseException:
                thread.stop()
                raise
            self._thread, self._producer = thread, producer
        return self._thread, self._producer


def _blocking(method: Callable[..., Any]) -> Callable[..., Any]:
    """The blocking counterpart of a method."""
    yields = inspect.isasyncgenfunction(method)

    @functools.wraps(method)
    def call(self: Producer, *args: Any, **kwargs: Any) -> Any:
        thread, producer = self._connected()
        called = method(producer, *args, **kwargs)
        return thread.iterate(called) if yields else thread.run(called)

    return call


def mirrored() -> dict[str, Callable[..., Any]]:
    """The methods of the async Producer that have a counterpart here."""
    return {
        name: method
        for name, method in vars(_async.Producer).items()
        if not name.startswith("_") and (inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method))
    }


for _name, _method in mirrored().items():
    setattr(Producer, _name, _blocking(_method))

__all__ = ["Producer"]
