"""Server-sent events of an answer, as lines `data: …`.

httpx-sse reads an event when its blank line comes. Some servers send none after the last one, so that event is read as
well, if it is whole: half of one means that the stream was cut.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import httpx
from httpx_sse import EventSource

from windfall_worker.cloud.pace import Pace

DONE: Final = "data: [DONE]"
_KIND: Final = "text/event-stream"


class DataLine(str):  # noqa: SLOT000 - it has one attribute more than a str
    """A line `data: …`. `decoded` is the JSON object in it, once somebody has read it."""

    decoded: dict[str, Any] | None = None

    @classmethod
    def of(cls, answer: dict[str, Any]) -> DataLine:
        """The line of an object that came otherwise."""
        line = cls("data: " + json.dumps(answer))
        line.decoded = answer
        return line


def is_stream(response: httpx.Response) -> bool:
    """Whether a response says that it is a stream of events."""
    return _KIND in response.headers.get("content-type", "")


def looks_like_events(text: str) -> bool:
    """Whether a body that does not say so is a stream of events all the same."""
    return text.lstrip().startswith(("data:", "event:"))


async def event_lines(parts: AsyncIterator[bytes], pace: Pace) -> AsyncGenerator[DataLine, None]:
    """A line for each event that has data. Each part is waited for as long as is allowed."""
    body = _Padded(parts, pace)
    events = EventSource(httpx.Response(200, headers={"content-type": _KIND}, stream=body)).aiter_sse()
    async with aclosing(events):
        async for event in events:
            if not event.data:
                continue
            data = event.data.replace("\n", " ")
            line = DataLine("data: " + (_as_error(data) if event.event == "error" else data))
            if not body.ended or _whole(line):
                yield line


class _Padded(httpx.AsyncByteStream):
    """A body, with the blank line that may be missing at its end."""

    def __init__(self, parts: AsyncIterator[bytes], pace: Pace) -> None:
        self._parts = parts
        self._pace = pace
        self.ended = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await self._pace.next_part(self._parts)) is not None:
            yield part
        self.ended = True
        yield b"\n\n"


def _whole(line: str) -> bool:
    if line == DONE:
        return True
    try:
        json.loads(line.removeprefix("data: "))
    except (ValueError, RecursionError):
        return False
    return True


def _as_error(data: str) -> str:
    """The data of an event that is named an error, in the format of an error."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        said = data
    if isinstance(said, dict) and said.get("error"):
        return data
    return json.dumps({"error": said})
