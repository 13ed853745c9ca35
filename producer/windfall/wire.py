"""Bytes <-> types: the only place where one becomes the other, and the only serializer given to arq.

Messages are JSON with a contract version `v`. Their other fields are arq's own, so that a stock
`ArqRedis.enqueue_job("complete", request)` and a stock `Job.result()` work with `job_serializer` and
`job_deserializer`. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from windfall.errors import CompletionFailed, UnknownContract, WindfallError, WireError
from windfall.keys import FUNCTION
from windfall.request import CompletionRequest
from windfall.result import Attempt, CompletionResult, JobState

#: The version of every message that this program writes, and the only one that it reads.
CONTRACT: Final = 1

#: Its minor version, which stands in requests that hold values which older programs refuse.
MINOR: Final = 1

#: What `moved_on` says of the last attempt before a job was run again by hand: to people, and to older versions, whose
#: attempts have no field `retried`.
RETRIED: Final = "run again by hand"

#: W3C trace context: its headers, and the longest that is accepted.
_TRACE_FIELDS: Final = ("traceparent", "tracestate")
_TRACE_LENGTH: Final = 512

#: Characters of an unknown field's name that an error message shows.
_FIELD_LENGTH: Final = 100


def _trace_context(found: object) -> dict[str, str]:
    """The valid part of a trace context: an unreadable trace must not lose us the job."""
    fields = {name: found.get(name) for name in _TRACE_FIELDS} if isinstance(found, dict) else {}
    return {name: text for name, text in fields.items() if isinstance(text, str) and len(text) <= _TRACE_LENGTH}


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")

    v: int
    f: str
    t: int | None = None
    et: Annotated[int, Field(ge=0, le=2**53)]  # larger integers are not exact as floats


class JobMessage(_Message):
    """A job as stored in Redis: arq's function name, try and enqueue time (ms), and the request.

    `trace` is the span that enqueued it, if tracing was on. An `interactive` job goes before all others.
    """

    a: tuple[CompletionRequest]
    k: dict[str, Any] = {}
    trace: Annotated[dict[str, str], BeforeValidator(_trace_context)] = {}
    interactive: Annotated[bool, BeforeValidator(lambda found: found is True)] = False

    @property
    def request(self) -> CompletionRequest:
        """What the job asks for."""
        return self.a[0]


class _ResultMessage(_Message):
    s: bool
    st: int
    ft: int
    q: str
    id: str
    r: CompletionResult


_attempts = TypeAdapter(tuple[Attempt, ...])


def encode_job(
    request: CompletionRequest, enqueued_ms: int, trace: Mapping[str, str] | None = None, *, interactive: bool = False
) -> bytes:
    """Encode a job as arq's `serialize_job` would with our serializer, plus its class and its trace context.

    These come last: readers that do not know them ignore them, and `enqueued_at` never reaches them.
    """
    body = request.__pydantic_serializer__.to_json(request, exclude_unset=True)
    if request.is_new and request.minor is None:
        # An unknown field tells a worker of an older version to leave the job to others; an unknown value does not.
        body = b'%s,"minor":%d}' % (body[:-1], MINOR)
    more = b',"interactive":true' if interactive else b""
    more += b',"trace":' + to_json(trace) if trace else b""
    parts = (CONTRACT, FUNCTION.encode(), enqueued_ms, body, more)
    return b'{"v":%d,"t":null,"f":"%s","k":{},"et":%d,"a":[%s]%s}' % parts


#: The first bytes of a job that are certain to include its enqueue time, for `enqueued_at`.
HEAD_BYTES: Final = 128


def enqueued_at(head: bytes) -> float | None:
    """When a job was enqueued (Unix seconds), from its first bytes; None if they do not say."""
    found = re.search(rb'"et":\s?(\d{1,15})\b', head)
    return int(found[1]) / 1000 if found else None


def decode_job(data: bytes) -> JobMessage:
    """Decode a job. Raises `UnknownContract` (also for a field that a newer version added) or `WireError`."""
    try:
        message = JobMessage.model_validate_json(data)
    except ValidationError as exc:
        _check_version(data)
        _check_fields(exc, data)
        raise WireError(f"not a job of contract {CONTRACT}: {_first_reason(exc)}", data) from exc
    if message.v != CONTRACT:
        _check_version(data)
    return message


def encode_result(result: CompletionResult, queue: str) -> bytes:
    """Encode a result as arq's `serialize_result` would with our serializer. It holds no prompt."""
    timings = result.timings
    head = {
        "v": CONTRACT,
        "t": max(len(result.attempts), 1),
        "f": FUNCTION,
        "et": round(timings.enqueued_at * 1000),
        "s": result.ok,
        "st": round((timings.started_at or timings.finished_at) * 1000),
        "ft": round(timings.finished_at * 1000),
        "q": queue,
        "id": result.job_id,
    }
    body = result.__pydantic_serializer__.to_json(result, exclude_defaults=True)
    return b'%s,"a":[],"k":{},"r":%s}' % (to_json(head)[:-1], body)


def decode_result(data: bytes) -> CompletionResult:
    """Decode a result. Raises `UnknownContract` or `WireError`."""
    try:
        message = _ResultMessage.model_validate_json(data)
    except ValidationError as exc:
        _check_version(data)
        raise WireError(f"not a result of contract {CONTRACT}: {_first_reason(exc)}", data) from exc
    if message.v != CONTRACT:
        _check_version(data)
    if RETRIED.encode() not in data:
        return message.r
    return message.r.model_copy(update={"attempts": _with_marks(message.r.attempts)})


def encode_attempts(attempts: tuple[Attempt, ...]) -> bytes:
    """Encode the ledger of a job that goes back to its lane."""
    return _attempts.dump_json(attempts, exclude_defaults=True)


def decode_attempts(data: bytes) -> tuple[Attempt, ...]:
    """Decode the ledger that a claim returned. Raises `WireError`."""
    try:
        return _with_marks(_attempts.validate_json(data))
    except ValidationError as exc:
        raise WireError(f"not a ledger: {_first_reason(exc)}", data) from exc


def _with_marks(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """The attempts with `retried` set where an older version said so in words alone."""
    return tuple(
        attempt.model_copy(update={"retried": True}) if attempt.moved_on == RETRIED else attempt for attempt in attempts
    )


def job_serializer(message: dict[str, Any]) -> bytes:
    """For arq's `job_serializer`: one of arq's jobs or results as our JSON."""
    value = message.get("r")
    if isinstance(value, BaseException):
        message = {**message, "s": False, "r": {"exception": type(value).__name__, "message": str(value)}}
    if "r" in message:
        message = {**message, "a": [], "k": {}}
    return to_json({"v": CONTRACT, **message}, by_alias=True)


def job_deserializer(data: bytes) -> dict[str, Any]:
    """For arq's `job_deserializer`: our JSON as one of arq's jobs or results.

    A completed job's `r` is its `CompletionResult`; any other job's is a `CompletionFailed` that holds it, which arq
    raises from `Job.result()`.
    """
    message = _check_version(data)
    if "r" not in message:
        job = decode_job(data)
        return {"t": job.t, "f": job.f, "a": job.a, "k": job.k, "et": job.et}
    body = message["r"]
    if isinstance(body, dict) and "exception" in body:
        message["r"] = WindfallError(f"{body['exception']}: {body.get('message', '')}")
        return message
    result = decode_result(data)
    message["r"] = result if result.state is JobState.COMPLETED else CompletionFailed(result)
    return message


def _check_version(data: bytes) -> dict[str, Any]:
    try:
        message = from_json(data)
    except ValueError as exc:
        raise WireError(f"not JSON: {exc}", data) from exc
    if not isinstance(message, dict):
        raise WireError("not a JSON object", data)
    found = message.get("v")
    if not isinstance(found, int):
        raise WireError("not a Windfall message: it has no contract version", data)
    if found != CONTRACT:
        raise UnknownContract(
            f"a message of contract {json.dumps(found)}; this program reads contract {CONTRACT}: upgrade it",
            data,
            found,
        )
    return message


def _check_fields(exc: ValidationError, data: bytes) -> None:
    """An unknown field, or kind of part, was added by a newer producer: its meaning is not guessed."""
    for error in exc.errors(include_input=False, include_url=False, include_context=False):
        if error["type"] in ("extra_forbidden", "union_tag_invalid"):
            field = ".".join(str(part) for part in error["loc"][2:])[:_FIELD_LENGTH]
            raise UnknownContract(
                f"a job of contract {CONTRACT} with the field {field!r}, which this program does not know: upgrade it",
                data,
                CONTRACT,
            ) from None


def _first_reason(exc: ValidationError) -> str:
    """Where and why, without the input, which may be a prompt."""
    error = exc.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in error["loc"])
    return f"{where}: {error['msg']}" if where else error["msg"]
