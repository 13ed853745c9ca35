"""The bytes of an answer become values here, and nowhere else; an error says what was received instead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from enum import IntEnum
from typing import Any, Final

import httpx
from httpx_sse import EventSource

from windfall.errors import AmbiguousOutcome, BackendError, InvalidResponse
from windfall_worker.cloud.faults import fault_in
from windfall_worker.cloud.mapping import ErrorMapper, request_id_of
from windfall_worker.cloud.trip import OutOfTime

#: Seconds for the end of a body whose last event has come: with it the connection can be used again.
_END_OF_BODY: Final = 1.0


class Progress(IntEnum):
    """How far a stream has come."""

    MORE = 0  #: its end has not been seen yet
    ENOUGH = 1  #: the completion is whole, but something (its usage) may follow
    LAST = 2  #: nothing follows


def decoded(response: httpx.Response, errors: ErrorMapper) -> dict[str, Any]:
    """The JSON object of a good response. Raises `InvalidResponse`, `AmbiguousOutcome`, or what its error says."""
    text = response.text
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise _unreadable(response, errors) from exc
    fault = fault_in(answer)
    if fault:
        raise errors.from_fault(fault, request_id=request_id_of(response))
    if not isinstance(answer, dict):
        raise InvalidResponse(
            f"{errors.name} answered with a JSON {type(answer).__name__}, not an object; check base_url",
            status=response.status_code,
            request_id=request_id_of(response),
        )
    return answer


async def sse_lines(
    response: httpx.Response, errors: ErrorMapper, in_time: Callable[[], AbstractAsyncContextManager[None]]
) -> AsyncGenerator[str, None]:
    """A line `data: …` for each event of a good response. Each is waited for within `in_time`."""
    if "text/event-stream" not in response.headers.get("content-type", ""):
        async with in_time():
            await response.aread()
        decoded(response, errors)  # raises a better error if the answer is one
        raise InvalidResponse(
            f"{errors.name} was asked for a stream and did not send one",
            status=response.status_code,
            request_id=request_id_of(response),
        )
    events = EventSource(response).aiter_sse()
    async with aclosing(events):
        while True:
            try:
                async with in_time():
                    event = await anext(events)
            except StopAsyncIteration:
                return
            if event.data:
                yield "data: " + event.data.replace("\n", " ")


async def drain(lines: AsyncGenerator[str, None]) -> None:
    """Read what follows a stream's last event, so that its connection can be used again; failing to is harmless."""
    with suppress(TimeoutError, OutOfTime, httpx.HTTPError, BackendError):
        async with asyncio.timeout(_END_OF_BODY):
            async for _ in lines:
                pass


def event_of(line: str, errors: ErrorMapper) -> dict[str, Any]:
    """The JSON object of a `data:` line. Raises `InvalidResponse`, or what its error object says."""
    try:
        event = json.loads(line.removeprefix("data:"))
    except (ValueError, RecursionError) as exc:
        raise InvalidResponse(f"{errors.name} sent an event that is not JSON: {errors.scrub(line[:80])}") from exc
    fault = fault_in(event)
    if fault:
        raise errors.from_fault(fault)
    if not isinstance(event, dict):
        raise InvalidResponse(f"{errors.name} sent an event that is not a JSON object: {errors.scrub(line[:80])}")
    return event


def _unreadable(response: httpx.Response, errors: ErrorMapper) -> BackendError:
    text = response.text.lstrip()
    status, request_id = response.status_code, request_id_of(response)
    if text.startswith("{"):
        return AmbiguousOutcome(
            f"the JSON from {errors.name} is truncated; it may have been paid for", status=status, request_id=request_id
        )
    kind = response.headers.get("content-type", "").partition(";")[0] or "no content type"
    page = (
        "a web page"
        if text[:1] == "<" or "html" in kind
        else f"something other than JSON ({kind}, {len(text)} characters)"
    )
    return InvalidResponse(
        f"{errors.name} answered with {page}, not a completion; check base_url", status=status, request_id=request_id
    )
