"""Connections to one origin, as many as there are calls at a time.

httpcore's pool checks every connection it has, with a system call, whenever a request starts or ends: with 64
connections that is more work than the requests themselves (measured: 6 ms of CPU per call, against 1 ms here); and with
httpx's default of 20 kept connections it keeps opening new ones. So each connection here is a pool of its own, and idle
ones wait on a stack: the last one used is used next, and those that are not needed are closed.
"""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from typing import Final

import httpx

#: While an endpoint thinks, nothing comes. The system then asks whether it is still there: after 30 s, every 10 s, and
#: gives it up after three questions. (macOS calls the first of these options TCP_KEEPALIVE.)
_ALIVE: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, number, value)
        for names, value in ((("TCP_KEEPIDLE", "TCP_KEEPALIVE"), 30), (("TCP_KEEPINTVL",), 10), (("TCP_KEEPCNT",), 3))
        if (number := next((getattr(socket, name) for name in names if hasattr(socket, name)), None)) is not None
    ),
]

#: Seconds for which an idle connection is kept; endpoints close theirs after a minute or so.
_KEPT: Final = 30.0


class ConnectionsTransport(httpx.AsyncBaseTransport):
    """Sends each request on an idle connection, or on a new one. The callers limit how many there are."""

    def __init__(self, proxy: httpx.Proxy | None = None) -> None:
        self._proxy = proxy
        self._tls = httpx.create_ssl_context()  # created once: it takes 10 ms or more
        self._limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEPT)
        self._idle: list[tuple[httpx.AsyncHTTPTransport, float]] = []
        self._all: set[httpx.AsyncHTTPTransport] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Its connection is free again when the response is closed."""
        await self._end_the_old()
        connection = self._idle.pop()[0] if self._idle else self._new()
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            self._all.discard(connection)
            await connection.aclose()
            raise
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_HeldStream(response, connection, self),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close every connection, including those in use."""
        self._idle.clear()
        while self._all:
            await self._all.pop().aclose()

    def _new(self) -> httpx.AsyncHTTPTransport:
        connection = httpx.AsyncHTTPTransport(
            verify=self._tls, limits=self._limits, proxy=self._proxy, socket_options=_ALIVE
        )
        self._all.add(connection)
        return connection

    def _free(self, connection: httpx.AsyncHTTPTransport) -> None:
        if connection in self._all:
            self._idle.append((connection, time.monotonic()))

    async def _end_the_old(self) -> None:
        """Close the connections at the bottom of the stack that have been idle for long."""
        old = time.monotonic() - _KEPT
        while self._idle and self._idle[0][1] < old:
            connection, _ = self._idle.pop(0)
            self._all.discard(connection)
            await connection.aclose()


class _HeldStream(httpx.AsyncByteStream):
    """A response's body, which frees its connection when it is closed."""

    def __init__(
        self, response: httpx.Response, connection: httpx.AsyncHTTPTransport, transport: ConnectionsTransport
    ) -> None:
        self._response = response
        self._connection: httpx.AsyncHTTPTransport | None = connection
        self._transport = transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._response.stream:  # type: ignore[union-attr]  # an async transport's stream is async
            yield part

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await self._response.aclose()
        finally:
            self._transport._free(connection)  # noqa: SLF001 - the two classes belong together
