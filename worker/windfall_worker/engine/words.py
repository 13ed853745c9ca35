"""What an engine's process prints, as lines of the worker's log: native libraries say there why they gave up."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Final, Self

_log = logging.getLogger("windfall.engine.words")
_log.setLevel(logging.WARNING)  # also where only errors are logged: these may be a process' last words

_LONGEST: Final = 16 * 1024  # bytes of a line


class Words(asyncio.Protocol):
    """Hears one process. `file` is what the process is to print to; whoever started it closes that end here."""

    def __init__(self) -> None:
        self._begun = b""
        self._transport: asyncio.BaseTransport | None = None
        self.ended = asyncio.Event()
        self.file = -1

    @classmethod
    async def listen(cls) -> Self:
        """Ears for a process to come."""
        ours, theirs = os.pipe()
        words = cls()
        words.file = theirs
        await asyncio.get_running_loop().connect_read_pipe(lambda: words, os.fdopen(ours, "rb", 0))
        return words

    def close(self) -> None:
        """Hear no more."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's: the pipe is open."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Asyncio's: something was printed."""
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            _say(line)
        if len(self._begun) > _LONGEST:
            _say(self._begun)
            self._begun = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's: nobody holds the other end any more."""
        del exc
        _say(self._begun)
        self._begun = b""
        self.ended.set()


def _say(line: bytes) -> None:
    # Progress bars overwrite themselves; what they show last is what a person would see.
    text = line.rstrip().rpartition(b"\r")[2].decode(errors="replace").strip()
    if text:
        # Without arguments nothing is formatted; a log that leaves out repetitions knows them by the message.
        _log.warning(text)
