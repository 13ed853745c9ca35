"""How large an answer may be, and how long it may take: no endpoint can exhaust memory, or hold a slot indefinitely.

Bytes are counted after decoding, and decoded piece by piece: a few kilobytes of gzip can hold gigabytes, and httpx
decodes everything that one read returned at once.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final

import httpx

#: Bytes decoded at once.
_PIECE: Final = 1 << 16
_ABOUT_THE_CODING: Final = frozenset({b"content-encoding", b"content-length"})

#: What requests ask for. Other codings are refused: nothing here limits what they decode to.
ACCEPT_ENCODING: Final = "gzip, deflate"


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """Bytes of a decoded answer, and of one line of a stream; seconds of a call, resends included.

    `silence`: seconds without a byte after a stream has begun to speak.
    """

    total_bytes: int = 64 << 20
    line_bytes: int = 8 << 20
    seconds: float = 3600.0
    silence: float = 60.0


#: The limits unless others are given.
DEFAULT_LIMITS: Final = AnswerLimits()


class AnswerTooLarge(httpx.DecodingError):
    """The answer is larger than allowed. Its connection cannot be used again."""


def bounded(response: httpx.Response, limits: AnswerLimits) -> httpx.Response:
    """The same response, with a body that is decoded and counted as it arrives."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    headers = [(name, value) for name, value in response.headers.raw if name.lower() not in _ABOUT_THE_CODING]
    streamed = "text/event-stream" in response.headers.get("content-type", "")
    return httpx.Response(
        response.status_code,
        headers=headers,
        stream=_BoundedStream(response, coding, limits, limits.line_bytes if streamed else None),
        extensions=response.extensions,
    )


class _BoundedStream(httpx.AsyncByteStream):
    def __init__(self, response: httpx.Response, coding: str, limits: AnswerLimits, line_bytes: int | None) -> None:
        self._response = response
        self._coding = coding
        self._limits = limits
        self._line_bytes = line_bytes
        self._came = self._line = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        decoder = _Decoder(self._coding)
        async for data in self._response.stream:  # type: ignore[union-attr]  # an async transport's stream is async
            for piece in decoder.pieces(data):
                self._count(piece)
                yield piece

    async def aclose(self) -> None:
        await self._response.aclose()

    def _count(self, piece: bytes) -> None:
        self._came += len(piece)
        if self._came > self._limits.total_bytes:
            raise AnswerTooLarge(f"the answer is larger than {self._limits.total_bytes:,} bytes")
        if self._line_bytes is None:
            return
        lines = piece.replace(b"\r", b"\n").split(b"\n")
        self._line += len(lines[0])
        longest = max(self._line, max((len(line) for line in lines[1:]), default=0))
        if len(lines) > 1:
            self._line = len(lines[-1])
        if longest > self._line_bytes:
            raise AnswerTooLarge(f"a line of the stream is longer than {self._line_bytes:,} bytes")


class _Decoder:
    """One body's content coding, undone in pieces of bounded size."""

    def __init__(self, coding: str) -> None:
        if coding not in ("identity", "gzip", "x-gzip", "deflate", ""):
            raise httpx.DecodingError(f"a content-encoding that was not requested: {coding[:32]!r}")
        self._zlib = None if coding in ("identity", "") else zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._maybe_raw = coding == "deflate"  # some servers send it without zlib's header

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What these bytes decode to."""
        if self._zlib is None:
            yield data
            return
        try:
            while data and not self._zlib.eof:
                piece = self._decompressed(data)
                data = self._zlib.unconsumed_tail
                if piece:
                    yield piece
        except zlib.error as exc:
            raise httpx.DecodingError(str(exc)) from exc

    def _decompressed(self, data: bytes) -> bytes:
        assert self._zlib is not None  # noqa: S101 - for mypy; `pieces` has checked
        maybe_raw, self._maybe_raw = self._maybe_raw, False
        try:
            return self._zlib.decompress(data, _PIECE)
        except zlib.error:
            if not maybe_raw:
                raise
            self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
            return self._zlib.decompress(data, _PIECE)
