"""Answers with an error status, by provider."""

from __future__ import annotations

import json
from typing import Any

from recordings.play import Recording
from windfall.errors import (
    AuthenticationFailed,
    BackendError,
    BackendUnavailable,
    ContentRefused,
    InvalidResponse,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
)

_TYPE = "type.googleapis.com/google.rpc."
_GEMINI_LIMIT = {
    "code": 429,
    "message": "You exceeded your current quota, please check your plan and billing details.",
    "status": "RESOURCE_EXHAUSTED",
    "details": [
        {"@type": f"{_TYPE}QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}]},
        {"@type": f"{_TYPE}RetryInfo", "retryDelay": "34.07s"},
    ],
}
_GEMINI_KEY = {
    "code": 400,
    "message": "API key not valid. Please pass a valid API key.",
    "status": "INVALID_ARGUMENT",
    "details": [{"@type": f"{_TYPE}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}],
}
_BEHIND = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": "tools.0 is wrong"}})


def refusal(
    provider: str, about: str, status: int, body: Any, fails: type[BackendError], says: str, **more: Any
) -> Recording:
    return Recording(provider, about, {"status": status, "json": body}, fails=fails, says=says, **more)


REFUSALS = (
    refusal("Gemini", "a rate limit, as a list", 429, [{"error": _GEMINI_LIMIT}], RateLimited, "exceeded your current"),
    refusal("Gemini", "a wrong key, with 400", 400, [{"error": _GEMINI_KEY}], AuthenticationFailed, "not valid"),
    refusal(
        "OpenAI",
        "an empty account",
        429,
        {
            "error": {
                "message": "You exceeded your current quota",
                "type": "insufficient_quota",
                "code": "insufficient_quota",
            }
        },
        QuotaExhausted,
        "quota",
    ),
    refusal(
        "OpenAI",
        "a moderated prompt",
        400,
        {
            "error": {
                "message": "Your request was rejected",
                "type": "invalid_request_error",
                "code": "moderation_blocked",
            }
        },
        ContentRefused,
        "rejected",
    ),
    refusal(
        "Azure",
        "a filtered prompt",
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering a content management policy.",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        ContentRefused,
        "filtered",
    ),
    refusal(
        "OpenRouter",
        "a flagged prompt, with 403",
        403,
        {"error": {"code": 403, "message": "Input was flagged", "metadata": {"reasons": ["violence"]}}},
        ContentRefused,
        "flagged",
    ),
    refusal(
        "OpenRouter",
        "a key that may not use the model, with 403",
        403,
        {"error": {"code": 403, "message": "This key is limited to other models"}},
        AuthenticationFailed,
        "limited",
    ),
    refusal(
        "OpenRouter",
        "what the provider behind it said",
        400,
        {"error": {"code": 400, "message": "Provider returned error", "metadata": {"raw": _BEHIND}}},
        RequestRejected,
        "tools.0 is wrong",
    ),
    refusal(
        "xAI",
        "usage guidelines, with 403",
        403,
        {"code": "The caller does not have permission", "error": "Content violates usage guidelines. Failed check: X"},
        ContentRefused,
        "usage guidelines",
    ),
    refusal("xAI", "a wrong key", 401, {"code": "x", "error": "Incorrect API key"}, AuthenticationFailed, "Incorrect"),
    refusal(
        "Groq",
        "a call that it could not read itself",
        400,
        {"error": {"message": "Failed to call a function", "type": "invalid_request_error", "code": "tool_use_failed"}},
        InvalidResponse,
        "Failed to call",
    ),
    refusal(
        "Mistral",
        "a message that is an object",
        422,
        {"object": "error", "message": {"detail": [{"loc": ["body"], "msg": "Extra inputs"}]}, "type": "invalid"},
        RequestRejected,
        "Extra inputs",
    ),
    refusal("Cohere", "a message alone", 400, {"message": "too many messages"}, RequestRejected, "too many"),
    refusal(
        "Cloudflare", "a list of errors", 400, {"errors": [{"code": 7003, "message": "bad"}]}, RequestRejected, "bad"
    ),
    refusal(
        "TGI", "an error with a type", 503, {"error": "full", "error_type": "overloaded"}, BackendUnavailable, "full"
    ),
    refusal(
        "a gateway",
        "tokens that were paid for before it failed",
        500,
        {"error": {"message": "lost"}, "usage": {"prompt_tokens": 11, "completion_tokens": 9}},
        BackendUnavailable,
        "lost",
        usage=(11, 9, 0, 0),
    ),
)
