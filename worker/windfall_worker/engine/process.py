"""The supervisor: one engine process at a time, watched, and replaced when it ends.

The engine has a process of its own because Metal aborts the whole process when it runs out of memory, and the worker
must survive that. A process that holds calls and makes no step for `step_timeout` is killed: progress of tokens proves
liveness, not an open port. The calls that a dead process held fail with `EngineDied`, and the worker requeues them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection
from typing import Any, Final

from windfall.errors import BackendUnavailable, ConfigError, EngineDied
from windfall.request import CompletionRequest
from windfall.result import Completion
from windfall_worker.engine.link import EngineLink, OnDelta
from windfall_worker.engine.protocol import Beat, Load, Ready

logger = logging.getLogger("windfall.engine")

#: Seconds between restarts, at first and at most.
_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 30.0
#: Seconds. An engine that lived this long died of something new: the back-off starts over.
_LONG_LIFE: Final = 60.0


class EngineProcess:
    """Keeps an engine running for one model: `start` it once, `complete` at will, `close` it at the end.

    `private` names environment variables that the engine does not get, in addition to those that no engine gets.
    `restarts` counts the processes that have replaced a dead one.
    """

    def __init__(self, order: Load, private: Collection[str] = ()) -> None:
        self._order = order
        self._private = private
        self._link: EngineLink | None = None
        self._ready: Ready | None = None
        self._next: asyncio.Future[EngineLink] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.restarts = 0

    @property
    def ready(self) -> Ready | None:
        """What the engine reported about its model, once it was loaded."""
        return self._ready

    @property
    def beat(self) -> Beat | None:
        """The engine's last beat; None while there is no engine."""
        return self._link.beat if self._link else None

    @property
    def pid(self) -> int | None:
        """The process' id, while there is one."""
        return self._link.pid if self._link else None

    @property
    def held(self) -> int:
        """How many calls the engine holds."""
        return self._link.held if self._link else 0

    @property
    def tokens_per_second(self) -> float:
        """Tokens generated per second at the moment, over all calls."""
        return self._link.tokens_per_second if self._link else 0.0

    async def start(self) -> Ready:
        """Start the process and wait until the model is loaded, however long that takes.

        Raises `ConfigError` with one sentence if that fails.
        """
        self._link = await self._launch()
        self._keeper = asyncio.create_task(self._keep(self._link), name="engine keeper")
        return self._link.loaded.result()

    async def complete(self, request: CompletionRequest, on_delta: OnDelta | None = None) -> Completion:
        """Complete one request; while the engine restarts, wait for it. Raises `BackendError`."""
        if self._link is None and self._next is not None:
            link = await asyncio.shield(self._next)
        elif self._link is None:
            raise BackendUnavailable("the engine is not running")
        else:
            link = self._link
        return await link.complete(request, on_delta)

    async def close(self) -> None:
        """End the process, by force if need be. Calls that it held fail with `BackendUnavailable`."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        link, self._link = self._link, None
        self._settle_next(BackendUnavailable("the engine was closed"))
        self._next = None
        if link is not None:
            link.fail_calls(BackendUnavailable("the engine was closed while it held this call"))
            await self._end(link)

    async def _launch(self) -> EngineLink:
        """Start a process and wait until it has loaded its model. Raises `ConfigError`."""
        link = await EngineLink.launch(self._order, self._private)
        ended = asyncio.create_task(link.ended())
        waited: list[asyncio.Future[Any]] = [link.loaded, ended]
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not link.loaded.done():
                why = f"{self._order.name} cannot be loaded: the engine {ended.result()} while loading it"
                link.loaded.set_exception(ConfigError(why))
            self._ready = link.loaded.result()
        except BaseException:
            ended.cancel()
            link.kill("was no longer needed")
            await link.ended()
            raise
        ended.cancel()
        return link

    async def _keep(self, link: EngineLink) -> None:
        """Replace each process that ends."""
        loop = asyncio.get_running_loop()
        delay = _FIRST_DELAY
        while True:
            born = loop.time()
            why = await self._until_ended(link)
            self._link, self._next = None, loop.create_future()
            logger.warning("the engine %s and took %d calls with it; restarting it", why, link.held)
            link.fail_calls(EngineDied(f"the engine {why} while it held this call"))
            if loop.time() - born > _LONG_LIFE:
                delay = _FIRST_DELAY
            link, delay = await self._replace(delay)
            self.restarts += 1
            self._link = link
            self._settle_next(link)

    async def _replace(self, delay: float) -> tuple[EngineLink, float]:
        """A new process, and the delay before the next one. Waiting callers are told about each failure."""
        while True:
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)
            try:
                return await self._launch(), delay
            except (ConfigError, OSError) as exc:
                logger.warning("the engine did not start: %s", exc)
                self._settle_next(BackendUnavailable(f"the engine died and did not restart: {exc}"))
                self._next = asyncio.get_running_loop().create_future()

    def _settle_next(self, outcome: EngineLink | Exception) -> None:
        if self._next is None or self._next.done():
            return
        if isinstance(outcome, Exception):
            self._next.set_exception(outcome)
            self._next.exception()  # marked as retrieved, in case no caller is waiting
        else:
            self._next.set_result(outcome)

    async def _until_ended(self, link: EngineLink) -> str:
        watchdog = asyncio.create_task(self._watch(link), name="engine watchdog")
        try:
            return await link.ended()
        finally:
            watchdog.cancel()

    async def _watch(self, link: EngineLink) -> None:
        """Kill the process if it holds calls and makes no progress."""
        loop = asyncio.get_running_loop()
        timeout = self._order.settings.step_timeout
        interval = min(1.0, timeout / 4)
        while True:
            asleep = loop.time()
            await asyncio.sleep(interval)
            if loop.time() - asleep > interval + timeout / 4:
                # This loop was delayed (a sleeping laptop, a debugger): the engine may not have been silent at all.
                link.touch()
            elif link.held and loop.time() - link.progressed > timeout:
                link.kill(f"made no step for {timeout:g} s and was killed")

    async def _end(self, link: EngineLink) -> None:
        link.hang_up()
        try:
            await asyncio.wait_for(link.ended(), self._order.settings.close_timeout)
        except TimeoutError:
            link.kill("did not end when its pipe was closed")
            await link.ended()
