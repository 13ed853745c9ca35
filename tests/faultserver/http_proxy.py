"""An HTTP proxy in a process of its own: `python -m faultserver.http_proxy` prints its port, then each target it got.

It forwards plain HTTP to where the request says, and refuses every CONNECT, which is how TLS would go through it.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """The handle that tests hold."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faultserver.http_proxy"],
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = f"127.0.0.1:{int(self._said())}"

    def target(self) -> str:
        """The next target that it was asked for, as `METHOD target authorization`; waits for it."""
        return self._said()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def _said(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    method, target, _ = head.split(" ", 2)
    lines = head.split("\r\n")
    given = next((line.split(" ", 1)[1] for line in lines if line.lower().startswith("proxy-authorization:")), "-")
    sys.stdout.write(f"{method} {target} {given}\n")
    sys.stdout.flush()
    url = urlsplit(target)
    if method == "CONNECT":
        writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
    elif url.port:
        there, back = await asyncio.open_connection(url.hostname, url.port)
        back.write(head.replace(f"{url.scheme}://{url.netloc}", "", 1).encode("latin-1"))
        await asyncio.wait(
            [asyncio.create_task(pump(reader, back)), asyncio.create_task(pump(there, writer))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        back.close()
    writer.close()


async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass on what comes until it ends."""
    while data := await source.read(1 << 16):
        target.write(data)
        await target.drain()


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
