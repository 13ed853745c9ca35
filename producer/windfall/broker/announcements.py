"""Waiting for what scripts publish: one multiplexed pub/sub connection, however many wait."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from arq import ArqRedis

from windfall.broker.connection import REDIS_ERRORS
from windfall.runtime.tasks import cancel_all

#: Seconds between attempts to reconnect.
_RECONNECT_DELAY: Final = 0.25
#: Seconds between attempts to subscribe.
_LISTEN_AGAIN: Final = 1.0
#: Seconds of silence after which the server is pinged, and within which it must answer.
_SILENCE: Final = 5.0


class Announcements:
    """Sets an event whenever something is published on a channel.

    Events are also set whenever the connection comes back, because a message may have been missed: check the state
    again after every wake-up. Subscribe first, then check, then wait.
    """

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis
        self._events: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._pubsub: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[asyncio.Event]:
        """An event for this channel; subscribed before the body runs."""
        event = asyncio.Event()
        async with self._lock:
            # Only a successful subscription has listeners: after a failure the next caller must try again.
            if not self._events.get(channel):
                await self._subscribe(channel)
            self._events[channel].add(event)
        try:
            yield event
        finally:
            async with self._lock:
                self._events[channel].discard(event)
                if not self._events[channel]:
                    del self._events[channel]
                    with suppress(*REDIS_ERRORS):
                        await self._pubsub.unsubscribe(channel)

    async def hear(self, channel: str, on_word: Callable[[], Awaitable[object]]) -> None:
        """Run this for every message on a channel and after every reconnect, until cancelled."""
        while True:
            try:
                async with self.listen(channel) as announced:
                    while True:
                        await announced.wait()
                        announced.clear()
                        await on_word()
            except REDIS_ERRORS:
                await asyncio.sleep(_LISTEN_AGAIN)

    async def _subscribe(self, channel: str) -> None:
        if self._pubsub is None:
            self._pubsub = self._redis.pubsub()
        await self._pubsub.subscribe(channel)
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        asked = False
        while True:
            try:
                # redis-py resubscribes by itself once the connection is back; the confirmation of a subscription
                # is how we learn of it.
                message = await self._pubsub.get_message(ignore_subscribe_messages=False, timeout=_SILENCE)
                if message is None:
                    await (self._leave() if asked else self._pubsub.ping(""))
                    asked = not asked
                    continue
            except REDIS_ERRORS:
                asked = False
                await asyncio.sleep(_RECONNECT_DELAY)
                continue
            asked = False
            if message["type"] in ("message", "subscribe"):
                for event in self._events.get(message["channel"].decode(), ()):
                    event.set()

    async def _leave(self) -> None:
        """Drop a connection that has gone silent without being closed: the next read opens another."""
        if self._pubsub.connection:
            await self._pubsub.connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Stop listening; anything still waiting runs into its timeout."""
        if self._reader:
            await cancel_all([self._reader])
        if self._pubsub:
            with suppress(*REDIS_ERRORS):
                await self._pubsub.aclose()
