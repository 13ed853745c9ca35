"""Asks Redis for what the whole fleet shares, and notices when it does not answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from windfall.broker.connection import OUTAGE, is_passing
from windfall.scripts import run
from windfall.scripts.lua_script import LuaScript

logger = logging.getLogger(__name__)


class RedisLink:
    """Runs Lua scripts for the parts that must work without Redis: the breakers, the cool-downs, the retry budget.

    A call that Redis does not answer within `patience` seconds, or answers by saying that it cannot serve, returns
    None, and so does every call in the `pause` seconds after it: the caller then decides on its own. All users of one
    Redis share one link, so that an outage is waited for only once.
    `clock` says when the pause is over (seconds).

    An error inside a script is not an outage but a bug or a missing permission, and is logged as such.
    """

    def __init__(
        self, redis: Redis, *, patience: float = 2.0, pause: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._patience = patience
        self._pause = pause
        self._clock = clock
        self._ask_again_at = 0.0
        self._down = False

    @property
    def down(self) -> bool:
        """Whether the last call did not reach Redis."""
        return self._down

    async def call(self, script: LuaScript, keys: Sequence[str], args: Sequence[str | int | float]) -> Any | None:
        """Run a script. None: Redis cannot be used now, or the script has a bug (which is then in the log)."""
        now = self._clock()
        if self._down:
            if now < self._ask_again_at:
                return None
            # One caller finds out whether Redis is back; the others do not wait for it.
            self._ask_again_at = now + self._patience + self._pause
        try:
            answer = await self._ask(script, keys, args)
        except (RedisError, *OUTAGE) as exc:
            if isinstance(exc, ResponseError) and not is_passing(exc):
                logger.exception(
                    "a script on Redis failed: this is a bug, or a permission is missing; continuing without it"
                )
                return None
            self._lost(exc)
            return None
        if self._down:
            self._down = False
            logger.warning("Redis answers again: breakers, cool-downs and the retry budget are shared again")
        return answer

    async def _ask(self, script: LuaScript, keys: Sequence[str], args: Sequence[str | int | float]) -> Any:
        task = asyncio.current_task()
        cancellations = task.cancelling() if task else 0
        async with asyncio.timeout(self._patience):
            answer = await run(self._redis, script, keys, args, patience=None)
        if task and task.cancelling() > cancellations:
            # With a socket_timeout, redis-py writes through asyncio.wait_for, and Python 3.11's wait_for loses a
            # cancellation that arrives just as it ends: without this the call would continue.
            raise asyncio.CancelledError
        return answer

    def _lost(self, exc: Exception) -> None:
        self._ask_again_at = self._clock() + self._pause
        if not self._down:
            self._down = True
            logger.warning("Redis does not answer (%s): this process decides on its own", type(exc).__name__)
