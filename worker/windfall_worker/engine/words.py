"""What an engine's process prints, as lines of the worker's log: native libraries print there why they failed."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Final, Self

logger = logging.getLogger("windfall.engine.words")
logger.setLevel(logging.WARNING)  # even if only errors are logged: these may be a process' last words

#: Bytes of a line; longer ones are split.
_LONGEST: Final = 16 * 1024


class Words(asyncio.Protocol):
    """Reads what one process prints. The process gets `file` as its output; whoever starts it then closes `file`."""

    def __init__(self) -> None:
        self._begun = b""
        self._transport: asyncio.BaseTransport | None = None
        self.ended = asyncio.Event()
        self.file = -1

    @classmethod
    async def listen(cls) -> Self:
        """Open the pipe for a process yet to be started."""
        ours, theirs = os.pipe()
        words = cls()
        words.file = theirs
        await asyncio.get_running_loop().connect_read_pipe(lambda: words, os.fdopen(ours, "rb", 0))
        return words

    def close(self) -> None:
        """Stop reading."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio: the pipe is open."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: something was printed."""
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            _say(line)
        if len(self._begun) > _LONGEST:
            _say(self._begun)
            self._begun = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio: the other end is closed."""
        del exc
        _say(self._begun)
        self._begun = b""
        self.ended.set()


def _say(line: bytes) -> None:
    # Progress bars overwrite themselves; a person sees what they show last.
    text = line.rstrip().rpartition(b"\r")[2].decode(errors="replace").strip()
    if text:
        # Without arguments nothing is formatted, and a log that omits repeats recognises them by the message.
        logger.warning(text)
