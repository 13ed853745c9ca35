"""A TCP proxy that lets through so many bytes a second, all its connections together, as a link far away does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_PIECE = 64 * 1024


@asynccontextmanager
async def slow_link(port: int, bytes_per_second: float) -> AsyncIterator[int]:
    """A local port that leads to `port`; what comes back from there comes slowly."""
    one_at_a_time = asyncio.Lock()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slowly: bool) -> None:
        with suppress(OSError):
            while piece := await reader.read(_PIECE):
                if slowly:
                    async with one_at_a_time:
                        await asyncio.sleep(len(piece) / bytes_per_second)
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(carry(reader, back, slowly=False), carry(there, writer, slowly=True))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
