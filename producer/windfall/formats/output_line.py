"""Results -> OpenAI Batch output lines (https://platform.openai.com/docs/api-reference/batch/request-output).

    {"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error", "windfall"}

`id` is the job's id. A completed row has status 200, the `chat.completion` as its body, and `error` null. A failed row
always has `error: {"code", "message"}`. If an HTTP API would have answered with a status (the request was rejected, or
a cloud backend did answer that way), `response` has that status and OpenAI's body `{"error": {"message", "type",
"param", "code"}}`; otherwise (`batch_cancelled`, `batch_expired`, `worker_lost`, …) `response` is null. So a reader
that checks the status code and one that checks `error` both see every failure.

`windfall` is the only field that OpenAI's lines lack: `fingerprint` is the request's (`windfall.fingerprint`; null for
an invalid row), `backend` says what answered it, or null, and `ignored`, if present, lists the fields of the request
that the backend has no use for.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic_core import to_json

from windfall.result import CompletionResult, ErrorInfo, JobState, openai_body
from windfall.telemetry.visible import visible_json_bytes

#: The status with which OpenAI's API answers errors of these types.
_STATUS: Final = {
    "invalid_request": 400,
    "context_length_exceeded": 400,
    "unsupported_parameter": 400,
    "model_not_found": 404,
    "invalid_api_key": 401,
    "insufficient_quota": 429,
    "rate_limited": 429,
}
#: OpenAI's codes for rows that did not run to completion.
_CODE: Final = {JobState.CANCELLED: "batch_cancelled", JobState.EXPIRED: "batch_expired"}


def output_line(result: CompletionResult) -> bytes:
    """The line of this result, with its line ending."""
    return encode_row(output_row(result))


def encode_row(row: dict[str, Any]) -> bytes:
    """Serialize an output row: one line for every reader, even `str.splitlines`, and harmless in a terminal."""
    return visible_json_bytes(to_json(row)) + b"\n"


def output_row(result: CompletionResult) -> dict[str, Any]:
    """The line of this result as an object."""
    row: dict[str, Any] = {"id": result.job_id, "custom_id": result.custom_id or result.job_id}
    noted = {"ignored": result.ignored} if result.ignored else {}
    ours = {"windfall": {"fingerprint": result.fingerprint, "backend": result.backend} | noted}
    if result.completion is not None and result.ok:
        return row | {"response": _response(200, result, openai_body(result)), "error": None} | ours
    error = result.error or ErrorInfo(type="unknown", message=f"the job {result.state.value}; no reason was recorded")
    code = _CODE.get(result.state, error.type)
    status = None if result.state in _CODE else error.status or _STATUS.get(error.type)
    response = None
    if status is not None and status >= 400:
        body = {"error": {"message": error.message, "type": error.type, "param": error.param, "code": code}}
        response = _response(status, result, body)
    return row | {"response": response, "error": {"code": code, "message": error.message}} | ours


def _response(status: int, result: CompletionResult, body: dict[str, Any]) -> dict[str, Any]:
    ids = [attempt.request_id for attempt in result.attempts if attempt.request_id]
    return {"status_code": status, "request_id": ids[-1] if ids else result.job_id, "body": body}
