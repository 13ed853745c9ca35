"""What an endpoint says went wrong, in any of the formats that endpoints use.

Known formats, all JSON objects:

    {"error": {"message", "type", "code", "param"}}            OpenAI and most compatible servers
    {"type": "error", "error": {"type", "message"}}            Anthropic
    {"error": "message"}                                       mlx_lm.server, Ollama
    {"object": "error", "message", "type", "code"}             vLLM
    {"detail": "message"} or {"detail": [{"msg"}]}             FastAPI
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
    ContextLengthExceeded,
    ModelNotFound,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    UnsupportedParameter,
)

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
    (ContextLengthExceeded, frozenset({"context_length_exceeded"})),
    (ModelNotFound, frozenset({"model_not_found", "not_found_error", "notfounderror"})),
    (UnsupportedParameter, frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})),
    (
        AuthenticationFailed,
        frozenset({"invalid_api_key", "authentication_error", "permission_error", "account_deactivated"}),
    ),
    (RateLimited, frozenset({"rate_limit_error", "rate_limit_exceeded"})),
    (
        BackendUnavailable,
        frozenset(
            {"overloaded_error", "server_error", "api_error", "timeout_error", "internal_server_error", "overloaded"}
        ),
    ),
    (RequestRejected, frozenset({"invalid_request_error", "request_too_large", "content_policy_violation"})),
)

#: Sentences that say more than the `type` and `code` sent with them.
_QUOTA = re.compile(
    r"credit balance is too low|reached your specified .*usage limits|exceeded your current quota", re.IGNORECASE
)
_CONTEXT = re.compile(
    r"prompt is too long|maximum context length|exceeds? (the )?(context|model)|context window", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as the endpoint reports it. `kinds` holds its `type` and `code`; some bodies contain a `status`."""

    message: str = ""
    kinds: frozenset[str] = frozenset()
    param: str | None = None
    status: int | None = None

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
    def speaks_of_context(self) -> bool:
        """Whether its message says that the prompt is too long."""
        return bool(_CONTEXT.search(self.message))


def fault_in(body: Any) -> Fault | None:
    """The error in a decoded JSON body, or None if there is none."""
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    if isinstance(error, dict):
        return _fault(error)
    if isinstance(error, str) and error:
        return Fault(error)
    if body.get("object") == "error":
        return _fault(body)
    detail = body.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        detail = detail[0].get("msg")
    return Fault(str(detail)) if detail else None


def fault_in_text(text: str) -> Fault | None:
    """The error in a body that may not be JSON, or None if there is none."""
    try:
        return fault_in(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _fault(error: dict[str, Any]) -> Fault:
    kinds = frozenset(word.lower() for key in ("type", "code") if isinstance(word := error.get(key), str))
    code = error.get("code")
    status = code if isinstance(code, int) and 400 <= code <= 599 else None
    param = error.get("param")
    message = error.get("message")
    return Fault(
        message if isinstance(message, str) else "",
        kinds,
        param if isinstance(param, str) else None,
        status,
    )
