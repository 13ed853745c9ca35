"""A connection that leaves a server once it is no longer the master, and reports why a server rejected it."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from redis.asyncio import ConnectionPool
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    MasterDownError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)

#: Only a replica says so. redis-py has classes for it, whose messages lack the code; Redis 6.2 puts the code of a
#: script's error into the message.
_DEMOTED: Final = re.compile(r"\b(READONLY|MASTERDOWN)\b")
#: Seconds for which a server that closed a connection at once is asked for its reason.
_REASON_WITHIN: Final = 0.5


class Demoted(RedisConnectionError):
    """The server is a replica. Reconnecting may reach the master: one address may stand for several servers."""


class TurnedAway(RedisConnectionError):
    """The server gave a reason for rejecting the connection, and closed it."""


def follow_the_master(pool: ConnectionPool) -> None:
    """Make a pool, which has no connections yet, use the connection class below."""
    # One class per pool, because what one connection learns applies to all of them.
    bases = (_BrokerConnection, pool.connection_class)
    pool.connection_class = type(pool.connection_class.__name__, bases, {"demotions": 0})


def _is_demotion(exc: Exception | None) -> bool:
    if isinstance(exc, (ReadOnlyError, MasterDownError)):
        return True
    return isinstance(exc, ResponseError) and bool(_DEMOTED.search(str(exc)))


class _BrokerConnection:
    """Mixed into redis-py's connection classes (TCP, TLS, Unix, a sentinel's master)."""

    demotions: int  # of all connections of the pool together
    _known: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._one_at_a_time = asyncio.Lock()
        self._connecting: asyncio.Task[Any] | None = None

    async def connect(self) -> None:
        """Connect, unless it is connected. Several tasks share a connection that listens: only one of them opens it."""
        task = asyncio.current_task()
        if task is not None and task is self._connecting:
            await self._connect_once()  # what connecting itself sends found the connection closed again
            return
        async with self._one_at_a_time:
            self._connecting = task
            try:
                await self._connect_once()
            finally:
                self._connecting = None

    async def _connect_once(self) -> None:
        below: Any = super()
        if not below.is_connected:
            self._known = self.demotions
        await below.connect()

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        below: Any = super()
        if below.is_connected and self._known != self.demotions:
            # Another connection found a replica at the same address: one that only listens would never notice.
            await below.disconnect(nowait=True)
            raise Demoted("its address was found to lead to a replica")
        await below.send_packed_command(*args, **kwargs)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        try:
            return await below.read_response(*args, **kwargs)
        except (ResponseError, RedisConnectionError) as exc:
            # A sentinel's connection has already turned it into an outage.
            if not _is_demotion(exc) and not _is_demotion(_context(exc)):
                raise
            if self._known == self.demotions:
                type(self).demotions += 1
            await below.disconnect(nowait=True)
            raise Demoted(str(exc)) from exc

    async def on_connect(self) -> None:
        below: Any = super()
        try:
            await below.on_connect()
        except (AuthenticationError, AuthorizationError, BusyLoadingError):
            raise  # redis-py counts these as connection errors; they already state a reason
        except (RedisConnectionError, OSError) as exc:
            await below.disconnect(nowait=True)
            reason = await self._reason()
            if reason is None:
                raise
            raise TurnedAway(reason) from exc

    async def _reason(self) -> str | None:
        """What the server says before we send anything: after a send, a reset would discard its words."""
        below: Any = super()
        try:
            async with asyncio.timeout(_REASON_WITHIN):
                await below._connect()  # noqa: SLF001 - connects without sending anything, unlike connect()
                line: bytes = await below._reader.readline()  # noqa: SLF001 - there is no public way to read raw bytes
        except (TimeoutError, OSError, ValueError):
            return None
        finally:
            await below.disconnect(nowait=True)
        said = line.decode(errors="replace").strip()
        return said[1:].removeprefix("ERR ") if said.startswith("-") else None


def _context(exc: Exception) -> Exception | None:
    return exc.__context__ if isinstance(exc.__context__, Exception) else None
