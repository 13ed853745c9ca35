"""Results -> lines of Anthropic's Message Batches (https://docs.claude.com/en/api/retrieving-message-batch-results).

    {"custom_id", "result": {"type": "succeeded", "message": {…}}}
    {"custom_id", "result": {"type": "errored", "error": {"type": "error", "error": {"type", "message"}}}}

`canceled` and `expired` results have neither. A batch's row without a `custom_id` is named after its job.
"""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic_core import to_json

from windfall.result import Completion, CompletionResult, JobState
from windfall.telemetry.visible import visible_json_bytes

_STOP: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_ENDED: Final = {JobState.CANCELLED: "canceled", JobState.EXPIRED: "expired"}
#: Our error types by Anthropic's; any other is an `api_error`.
_ERROR: Final = {
    "invalid_request": "invalid_request_error",
    "context_length_exceeded": "invalid_request_error",
    "unsupported_parameter": "invalid_request_error",
    "model_not_found": "not_found_error",
    "invalid_api_key": "authentication_error",
    "rate_limited": "rate_limit_error",
    "insufficient_quota": "billing_error",
}


def anthropic_line(result: CompletionResult) -> bytes:
    """The line of this result, with its line ending."""
    row = {"custom_id": result.custom_id or result.job_id, "result": _outcome(result)}
    return visible_json_bytes(to_json(row)) + b"\n"


def _outcome(result: CompletionResult) -> dict[str, Any]:
    if result.completion is not None and result.ok:
        return {"type": "succeeded", "message": anthropic_message(result, result.completion)}
    if result.state in _ENDED:
        return {"type": _ENDED[result.state]}
    kind = _ERROR.get(result.error.type, "api_error") if result.error else "api_error"
    message = result.error.message if result.error else f"the job {result.state.value}; no reason was recorded"
    return {"type": "errored", "error": {"type": "error", "error": {"type": kind, "message": message}}}


def anthropic_message(result: CompletionResult, completion: Completion) -> dict[str, Any]:
    """The completion as Anthropic's `message` object."""
    content: list[dict[str, Any]] = []
    if completion.reasoning:
        content.append({"type": "thinking", "thinking": completion.reasoning, "signature": ""})
    if completion.content:
        content.append({"type": "text", "text": completion.content, "citations": None})
    content += [
        {"type": "tool_use", "id": call.id, "name": call.function.name, "input": _arguments(call.function.arguments)}
        for call in completion.tool_calls
    ]
    usage = completion.usage
    return {
        "id": f"msg_{result.job_id}",
        "type": "message",
        "role": "assistant",
        "model": completion.model or result.model,
        "content": content,
        "stop_reason": _STOP.get(completion.finish_reason, "end_turn"),
        "stop_sequence": None,
        "usage": {
            "input_tokens": usage.prompt_tokens - usage.cached_tokens,
            "cache_read_input_tokens": usage.cached_tokens,
            "cache_creation_input_tokens": 0,
            "output_tokens": usage.completion_tokens,
        },
    }


def _arguments(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"arguments": text}  # the model wrote no JSON
