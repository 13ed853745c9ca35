"""A `redis-server` child that lives exactly as long as this process, however it ends."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from windfall.broker.connection import connect, disconnect
from windfall.config.child_environment import system_environment
from windfall.config.private import open_private
from windfall.errors import BrokerError, BrokerUnavailable

# Stops redis-server when the pipe on stdin closes: this also works on macOS, where a process cannot ask to be
# notified of its parent's death. The server's own stdin is not the pipe. A temporary folder for the socket is removed
# even after a kill -9 of this process. The shell sets the umask, because uvloop cannot.
_GUARD: Final = (
    'umask 077; sockets=$1; shift; "$@" </dev/null & server=$!; cat >/dev/null; '
    'kill $server 2>/dev/null; wait $server; [ -z "$sockets" ] || rm -rf "$sockets"'
)
_LAST_WORDS: Final = 300  # characters of its log


@asynccontextmanager
async def running(command: Sequence[str], url: str, log: Path, sockets: Path | None = None) -> AsyncIterator[None]:
    """Run the command while the body runs, which starts once `url` answers. `sockets`: a folder to remove at the end.

    Raises `BrokerUnavailable`, with the last line of the server's log.
    """
    with open_private(log, "ab") as file:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", _GUARD, "sh", str(sockets or ""), *command, stdin=PIPE, stdout=file, stderr=file,
            start_new_session=True, env=system_environment(),
        )  # fmt: skip
    try:
        await _answering(url, process, log)
        yield
    finally:
        if process.stdin:
            process.stdin.close()
        await process.wait()


async def _answering(url: str, process: Process, log: Path) -> None:
    for _ in range(200):
        if process.returncode is not None:
            break
        try:
            await disconnect(await connect(url, timeout=1))
        except BrokerError:
            await asyncio.sleep(0.05)
        else:
            return
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    raise BrokerUnavailable(f"the embedded redis-server did not start; its last words: {said[:_LAST_WORDS]}")
