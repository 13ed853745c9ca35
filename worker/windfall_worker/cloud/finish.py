"""Why a completion ended, in OpenAI's words. Only reasons that are known become one of them.

Providers write them in either case, so they are compared in lower case. `docs/cloud.md` has the table by provider.
"""

from __future__ import annotations

from typing import Any, Final

from windfall.errors import BackendError, BackendUnavailable, InvalidResponse

_STOP: Final = ("stop", "end_turn", "stop_sequence", "eos", "eos_token", "complete")
_LENGTH: Final = ("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded")
_TOOLS: Final = ("tool_calls", "tool_call", "function_call", "tool_use")
_FILTERED: Final = (
    "content_filter",
    "content_filtered",
    "refusal",
    "safety",
    "image_safety",
    "recitation",
    "blocklist",
    "prohibited_content",
    "spii",
    "sensitive",
    "guardrail_intervened",
    "error_toxic",
)
_KNOWN: Final = {
    word: reason
    for reason, words in (
        ("stop", _STOP),
        ("length", _LENGTH),
        ("tool_calls", _TOOLS),
        ("content_filter", _FILTERED),
    )
    for word in words
}
#: The endpoint gave up: there is no completion, whatever was written so far.
_BROKEN_OFF: Final = frozenset(
    {
        "error",
        "abort",
        "aborted",
        "cancelled",
        "canceled",
        "insufficient_system_resource",
        "network_error",
        "overloaded",
        "server_error",
        "timeout",
    }
)
#: The model wrote something that the endpoint could not read.
_MALFORMED: Final = frozenset(
    {
        "malformed_function_call",
        "malformed_model_output",
        "malformed_response",
        "malformed_tool_call",
        "malformed_tool_use",
        "missing_thought_signature",
        "too_many_tool_calls",
        "unexpected_tool_call",
    }
)
#: Characters that a reason may have.
_LONGEST: Final = 64


def in_openai_words(said: Any) -> Any:
    """A reason that is known, as OpenAI would call it; any other as it is."""
    return _KNOWN.get(said.lower(), said) if isinstance(said, str) else said


def finish_reason(said: Any, *, calls: bool, empty: bool) -> str:
    """The reason of a completion that has `calls` of tools, or is `empty`.

    Raises `BackendUnavailable` or `InvalidResponse` for one that means that there is no completion, and
    `InvalidResponse` for an empty completion whose reason explains nothing.
    """
    reason = in_openai_words(said)
    if reason is None and not empty:
        reason = "stop"  # it was not said, and the answer is whole
    if reason == "stop" and calls:
        return "tool_calls"
    if reason in ("stop", "length", "tool_calls", "content_filter"):
        return str(reason)
    if not isinstance(reason, str) or not 0 < len(reason) <= _LONGEST or not reason.isprintable():
        raise InvalidResponse("the endpoint's answer is empty and does not say why it ended" if empty else _UNUSABLE)
    raise_for(reason)
    if empty:
        raise InvalidResponse(f"the endpoint's answer is empty; its finish_reason is {reason!r}")
    return reason


_UNUSABLE: Final = "the endpoint's answer has a finish_reason that is not a word"


def raise_for(reason: str) -> None:
    """Raise for a reason that means that there is no completion."""
    error = broken_off(reason)
    if error is None and reason.lower() in _MALFORMED:
        error = InvalidResponse(_NOTHING.format(reason))
    if error:
        raise error


def broken_off(said: Any) -> BackendError | None:
    """The error for a reason that means that the endpoint gave up; None for any other."""
    is_one = isinstance(said, str) and said.lower() in _BROKEN_OFF
    return BackendUnavailable(_NOTHING.format(said)) if is_one else None


_NOTHING: Final = "the endpoint ended its answer with finish_reason {!r}: there is no completion"
