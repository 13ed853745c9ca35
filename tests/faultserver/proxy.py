"""A way to a TCP server that a test can make slow, cut, silence, or turn to another server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self

_READ = 16 * 1024
_REMEMBERED = 64 * 1024
#: Chunks that may be under way on a connection, each way.
_UNDER_WAY = 1000


class Proxy:
    """Listens on a port of 127.0.0.1 and passes bytes to and from another one; in a thread of its own, so that neither
    a blocked event loop of the test's nor a stopped server holds it up.

    `delay` (seconds) and `rate` (bytes a second of each connection) hold each way, and may be changed at any time.
    """

    def __init__(self, port: int, *, delay: float = 0.0, rate: float = float("inf")) -> None:
        self.target = port  #: where new connections go; those that are there stay, as behind a virtual address
        self.delay = delay
        self.rate = rate
        self.port = 0  #: where it listens
        self.accepted = 0  #: connections so far
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Of the Redis behind it."""
        return f"redis://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End all connections."""
        self._do(self._cut())

    def silence(self, which: Callable[[bytes], bool] = lambda _: True) -> int:
        """Pass nothing more of the present connections, either way, and end none: a pulled cable. Later ones work.

        `which` picks among them by what the client sent first (64 KiB of it); returns how many were picked.
        """
        picked: int = self._do(self._silence(which))
        return picked

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = _Link(self, asyncio.current_task())
        self._links.add(link)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await link.run(reader, writer)
        finally:
            self._links.discard(link)
            writer.transport.abort()

    async def _cut(self) -> None:
        tasks = [link.task for link in self._links if link.task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _silence(self, which: Callable[[bytes], bool]) -> int:
        picked = [link for link in self._links if not link.silent and which(bytes(link.sent))]
        for link in picked:
            link.silent = True
        return len(picked)

    async def _close(self) -> None:
        if self._server:
            self._server.close()
        await self._cut()


class _Link:
    """One connection of a client's, and its way on."""

    def __init__(self, proxy: Proxy, task: asyncio.Task[Any] | None) -> None:
        self.task = task
        self.silent = False
        self.sent = bytearray()  # by the client, the beginning of it
        self._proxy = proxy

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._proxy.target)
        except OSError:
            return
        ways = [
            asyncio.create_task(self._pass_on(reader, back, self.sent)),
            asyncio.create_task(self._pass_on(there, writer, None)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            while self.silent:  # its end is not passed on either  # noqa: ASYNC110 - until the task is cancelled
                await asyncio.sleep(0.1)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            back.transport.abort()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, copy: bytearray | None
    ) -> None:
        """Until this side ends. Chunks are delayed side by side, not one after the other."""
        under_way: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue(_UNDER_WAY)
        writing = asyncio.create_task(self._write(under_way, writer))
        try:
            while chunk := await reader.read(_READ):
                await under_way.put((asyncio.get_running_loop().time(), chunk))
                if copy is not None and len(copy) < _REMEMBERED:
                    copy += chunk
            await under_way.put(None)
            await writing
        except OSError:
            pass
        finally:
            writing.cancel()

    async def _write(self, under_way: asyncio.Queue[tuple[float, bytes] | None], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while (next_one := await under_way.get()) is not None:
            came, chunk = next_one
            await asyncio.sleep(max(0.0, came + self._proxy.delay - loop.time()))
            await asyncio.sleep(len(chunk) / self._proxy.rate)
            if not self.silent:
                writer.write(chunk)
                await writer.drain()
