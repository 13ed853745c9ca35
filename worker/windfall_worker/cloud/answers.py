"""The bytes of an answer become values here, and nowhere else; an error says what was received instead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from enum import IntEnum
from typing import Any, Final

import httpx

from windfall.errors import UNREADABLE, AmbiguousOutcome, BackendError, InvalidResponse
from windfall_worker.cloud.faults import fault_in
from windfall_worker.cloud.mapping import ErrorMapper, request_id_of
from windfall_worker.cloud.pace import OutOfTime
from windfall_worker.cloud.sse import DataLine
from windfall_worker.cloud.usage import usage_in

#: Seconds for the end of a body whose last event has come: with it the connection can be used again.
_END_OF_BODY: Final = 1.0


class Progress(IntEnum):
    """How far a stream has come."""

    NOTHING = 0  #: it has said nothing yet
    MORE = 1  #: its end has not been seen yet
    ENOUGH = 2  #: the completion is whole, but something (its usage) may follow
    LAST = 3  #: nothing follows


def decoded(response: httpx.Response, errors: ErrorMapper) -> dict[str, Any]:
    """The JSON object of a good response. Raises `InvalidResponse`, `AmbiguousOutcome`, or what its error says."""
    text = response.text
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise _unreadable(response, errors) from exc
    raise_fault(answer, errors, request_id_of(response))
    if not isinstance(answer, dict):
        raise InvalidResponse(
            f"{errors.name} answered with a JSON {type(answer).__name__}, not an object; check base_url",
            status=response.status_code,
            request_id=request_id_of(response),
        )
    return answer


async def drain(lines: AsyncGenerator[str, None]) -> None:
    """Read what follows a stream's last event, so that its connection can be used again; failing to is harmless."""
    with suppress(TimeoutError, OutOfTime, httpx.HTTPError, BackendError):
        async with asyncio.timeout(_END_OF_BODY):
            async for _ in lines:
                pass


def event_of(line: str, errors: ErrorMapper) -> dict[str, Any]:
    """The JSON object of a `data:` line. Raises `InvalidResponse`, or what its error object says."""
    known = line.decoded if isinstance(line, DataLine) else None
    if known is not None:
        return known
    try:
        event = json.loads(line.removeprefix("data:"))
    except (ValueError, RecursionError) as exc:
        raise InvalidResponse(f"{errors.name} sent an event that is not JSON: {errors.scrub(line[:80])}") from exc
    raise_fault(event, errors)
    if not isinstance(event, dict):
        raise InvalidResponse(f"{errors.name} sent an event that is not a JSON object: {errors.scrub(line[:80])}")
    if isinstance(line, DataLine):
        line.decoded = event
    return event


def raise_fault(answer: Any, errors: ErrorMapper, request_id: str | None = None) -> None:
    """Raise what an answer says went wrong, in itself or in its first choice, with the usage that it reports."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(choice, dict) and not answer.get("error"):
        fault = fault_in({"error": choice["error"]}) if choice.get("error") else None
    else:
        fault = fault_in(answer)
    if fault:
        error = errors.from_fault(fault, request_id=request_id)
        error.usage = usage_in(answer)
        raise error


def _unreadable(response: httpx.Response, errors: ErrorMapper) -> BackendError:
    text = response.text.lstrip()
    status, request_id = response.status_code, request_id_of(response)
    if text.startswith("{"):
        error = AmbiguousOutcome(
            f"the JSON from {errors.name} is truncated; it may have been paid for", status=status, request_id=request_id
        )
        error.code = UNREADABLE
        return error
    kind = response.headers.get("content-type", "").partition(";")[0] or "no content type"
    page = (
        "a web page"
        if text[:1] == "<" or "html" in kind
        else f"something other than JSON ({kind}, {len(text)} characters)"
    )
    return InvalidResponse(
        f"{errors.name} answered with {page}, not a completion; check base_url", status=status, request_id=request_id
    )
