"""What an endpoint says went wrong, in any of the formats that endpoints use.

Known formats, all JSON:

    {"error": {"message", "type", "code", "param"}}            OpenAI and most compatible servers
    {"error": {"code", "innererror": {"code"}}}                Azure
    {"type": "error", "error": {"type", "message"}}            Anthropic
    [{"error": {"code", "message", "status", "details"}}]      Gemini, with the list or without it
    {"error": {"code", "message", "metadata"}}                 OpenRouter; `metadata` says why, or what is behind it
    {"error": "message", "code"}                               mlx_lm.server, Ollama, xAI
    {"object": "error", "message", "type", "code"}             vLLM; Mistral, whose message may be {"detail": …}
    {"detail": "message"} or {"detail": [{"msg"}]}             FastAPI
    {"errors": [{"message", "code"}]}                          Cloudflare
    {"message": "message"}                                     Bedrock, Cohere
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from windfall.errors import (
    AuthenticationFailed,
    BackendError,
    BackendUnavailable,
    ContentRefused,
    ContextLengthExceeded,
    InvalidResponse,
    ModelNotFound,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    UnsupportedParameter,
)
from windfall.result import Usage
from windfall_worker.cloud.usage import usage_in

#: The words that endpoints use in `type` and `code`. The first class that lists one of them wins: OpenAI's codes for
#: an exhausted quota come with another `type`, and Anthropic's `invalid_request_error` says almost nothing.
_KINDS: Final[tuple[tuple[type[BackendError], frozenset[str]], ...]] = (
    (
        QuotaExhausted,
        frozenset(
            {
                "insufficient_quota",
                "billing_hard_limit_reached",
                "billing_not_active",
                "billing_error",
                "credit_balance_exhausted",
                "insufficient_balance",
                "organization_spend_limit_exceeded",
                "organization_usage_limit_exceeded",
                "project_spend_limit_exceeded",
            }
        ),
    ),
    (
        ContentRefused,
        frozenset(
            {
                "content_filter",
                "content_policy_violation",
                "data_inspection_failed",
                "datainspectionfailed",
                "moderation_blocked",
                "responsibleaipolicyviolation",
            }
        ),
    ),
    (ContextLengthExceeded, frozenset({"context_length_exceeded"})),
    # What the model wrote was not what was asked for, and the endpoint says so in place of it (Groq).
    (InvalidResponse, frozenset({"tool_use_failed", "json_validate_failed"})),
    (ModelNotFound, frozenset({"model_not_found", "not_found_error", "notfounderror", "not_found"})),
    (UnsupportedParameter, frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})),
    (
        AuthenticationFailed,
        frozenset(
            {
                "invalid_api_key",
                "api_key_invalid",
                "authentication_error",
                "unauthenticated",
                "permission_error",
                "permission_denied",
                "account_deactivated",
            }
        ),
    ),
    (RateLimited, frozenset({"rate_limit_error", "rate_limit_exceeded", "resource_exhausted"})),
    (
        BackendUnavailable,
        frozenset(
            {
                "overloaded_error",
                "server_error",
                "api_error",
                "timeout_error",
                "internal_server_error",
                "overloaded",
                "unavailable",
                "internal",
            }
        ),
    ),
    (RequestRejected, frozenset({"invalid_request_error", "request_too_large", "invalid_argument"})),
)

#: Sentences that say more than the `type` and `code` sent with them.
_QUOTA = re.compile(
    r"credit balance is too low|reached your specified .*usage limits|exceeded your current quota", re.IGNORECASE
)
#: A 429 that no waiting helps: the request alone is more than the limit.
_TOO_LARGE = re.compile(r"request too large", re.IGNORECASE)
_LIMIT_REQUESTED = re.compile(r"limit:?\s*([\d,]+)[,.;]?\s+requested:?\s*([\d,]+)", re.IGNORECASE)
_CONTEXT = re.compile(
    r"prompt is too long|maximum context length|exceeds? (the )?(context|model)|context window", re.IGNORECASE
)
#: Those of a moderation that refuses what was asked; an account that is flagged is something else.
_MODERATION = re.compile(
    r"(content|prompt|input|request)\b.{0,60}\b(flagged|moderation|violat\w+|polic(y|ies))"
    r"|(violat\w+|flagged|moderation|filter\w*)\b.{0,60}\b(content|prompt|input)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as the endpoint reports it.

    `kinds` holds its `type`, its `code` and what else names it; some bodies contain a `status`, a time to wait
    (`retry_after`, in seconds) or the `usage` of what was made before it.
    """

    message: str = ""
    kinds: frozenset[str] = frozenset()
    param: str | None = None
    status: int | None = None
    retry_after: float | None = None
    usage: Usage | None = None

    @property
    def meaning(self) -> type[BackendError] | None:
        """The error that its `type` or `code` stands for, if any."""
        return next((error for error, words in _KINDS if words & self.kinds), None)

    @property
    def is_rate_limit(self) -> bool:
        """Whether it calls itself a rate limit, which passes, rather than a quota, which does not."""
        return self.meaning is RateLimited

    @property
    def speaks_of_quota(self) -> bool:
        """Whether its message says that the quota is exhausted."""
        return bool(_QUOTA.search(self.message))

    @property
    def never_passes(self) -> bool:
        """Whether its message says that the request needs more than the limit allows at all."""
        if _TOO_LARGE.search(self.message):
            return True
        numbers = _LIMIT_REQUESTED.search(self.message)
        limit, requested = (int(each.replace(",", "") or 0) for each in numbers.groups()) if numbers else (0, 0)
        return requested > limit

    @property
    def speaks_of_context(self) -> bool:
        """Whether its message says that the prompt is too long."""
        return bool(_CONTEXT.search(self.message))

    @property
    def speaks_of_moderation(self) -> bool:
        """Whether its message says that a moderation refused what was asked."""
        return bool(_MODERATION.search(self.message))


def fault_in(body: Any) -> Fault | None:
    """The error in a decoded JSON body, or None if there is none."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return None
    error = _error_of(body)
    return _fault(error, body) if error else None


def _error_of(body: dict[str, Any]) -> dict[str, Any] | None:
    """The error object of a body, or one made of what stands in its place."""
    error = body.get("error") or next(iter(_objects(body.get("errors"))), None)
    if isinstance(error, dict):
        return error
    if isinstance(error, str):
        return {"message": error, "type": body.get("error_type"), "code": body.get("code")}
    if body.get("detail"):
        return {"message": body["detail"]}
    alone = isinstance(body.get("message"), str) and not body.keys() & {"choices", "content"}
    return body if alone or body.get("object") == "error" else None


def fault_in_text(text: str) -> Fault | None:
    """The error in a body that may not be JSON, or None if there is none."""
    try:
        return fault_in(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _fault(error: dict[str, Any], body: dict[str, Any]) -> Fault:
    code, param = error.get("code"), error.get("param")
    message, kinds = _words(error.get("message")), {error.get(key) for key in ("type", "code", "status")}
    wait = None
    inner = error.get("innererror")
    if isinstance(inner, dict):
        kinds.add(inner.get("code"))
    for detail in _objects(error.get("details")):
        kinds.add(detail.get("reason"))
        wait = wait or _seconds(detail.get("retryDelay"))
    metadata = error.get("metadata")
    if isinstance(metadata, dict):
        if metadata.get("reasons"):
            kinds.add("content_filter")
        behind = fault_in_text(metadata["raw"]) if isinstance(metadata.get("raw"), str) else None
        if behind:
            message, kinds = f"{message}: {behind.message}", kinds | behind.kinds
            param = param or behind.param
    return Fault(
        message,
        frozenset(kind.lower() for kind in kinds if isinstance(kind, str)),
        param if isinstance(param, str) else None,
        code if isinstance(code, int) and 400 <= code <= 599 else None,
        wait,
        usage_in(body),
    )


def _words(said: Any) -> str:
    """The sentence in what is usually one, but may be an object or a list around it."""
    if isinstance(said, str):
        return said
    if isinstance(said, list):
        return _words(said[0]) if said else ""
    if isinstance(said, dict):
        return next((_words(said[key]) for key in ("message", "msg", "detail") if said.get(key)), "")
    return ""


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _seconds(delay: Any) -> float | None:
    """A duration as protobuf writes it in JSON, such as `34.07s`."""
    found = re.fullmatch(r"(\d{1,9}(\.\d*)?)s", delay) if isinstance(delay, str) else None
    return float(found[1]) if found else None
