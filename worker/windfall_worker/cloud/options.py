"""The options of one call, besides its body."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from windfall_worker.guards.limits import NO_TOKENS, Need


def _random_key() -> str:
    return f"windfall-{uuid.uuid4()}"


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How to make one call.

    `idempotency_key` is sent with every transport retry of the call, so that an endpoint that supports it can tell a
    repeat from a new request. `timeout` is the caller's own deadline in seconds from now, or None. With `resend_unsure`
    false, nothing that may already have been completed is sent again. `allowance` multiplies the time that the endpoint
    has. `on_request_id` is called with the endpoint's id of the request. `need` is what the call will take of the
    endpoint's rate limits, and `patience` how many seconds it may wait for them.
    """

    idempotency_key: str = field(default_factory=_random_key)
    timeout: float | None = None
    resend_unsure: bool = True
    allowance: float = 1.0
    on_request_id: Callable[[str], None] | None = None
    need: Need = NO_TOKENS
    patience: float = 20.0
