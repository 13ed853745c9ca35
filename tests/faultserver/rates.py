"""Rate limits as endpoints have them: token buckets and fixed windows, told in headers or not."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Limit:
    """One limit: `most` within `period` seconds, as a bucket that refills steadily or as a fixed window."""

    most: float
    period: float
    window: bool
    clock: Callable[[], float]
    left: float = field(init=False)
    since: float = field(init=False)

    def __post_init__(self) -> None:
        self.left, self.since = self.most, self.clock()

    def fill(self) -> None:
        """Let time go by."""
        now = self.clock()
        if not self.window:
            self.left, self.since = min(self.most, self.left + (now - self.since) * self.most / self.period), now
        elif now - self.since >= self.period:
            self.left, self.since = self.most, now - (now - self.since) % self.period

    @property
    def reset(self) -> float:
        """Seconds until it is whole again."""
        if self.window:
            return self.since + self.period - self.clock()
        return (self.most - self.left) * self.period / self.most

    def wait(self, need: float) -> float:
        """Seconds until it holds this much."""
        return self.reset if self.window else max(0.0, (need - self.left) * self.period / self.most)


class Rates:
    """The limits of one model.

    `requests`, `tokens`: how many within `period` seconds (60); `window`: in fixed windows. `told`: as "openai" or
    "anthropic" headers, else not at all. `retry_after`: whether a refusal says when to come back.
    """

    def __init__(self, settings: dict[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        period, window = settings.get("period", 60.0), settings.get("window", False)
        self._told = settings.get("told")
        self._retry_after = settings.get("retry_after", False)
        self._limits = {
            name: Limit(settings[name], period, window, clock) for name in ("requests", "tokens") if name in settings
        }

    def refusal(self, body: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any] | None]:
        """The headers for a request, and the error if it is refused."""
        needs = {"requests": 1.0, "tokens": tokens_of(body)}
        for limit in self._limits.values():
            limit.fill()
        short = [name for name, limit in self._limits.items() if limit.left < needs[name]]
        if not short:
            for name, limit in self._limits.items():
                limit.left -= needs[name]
            return self._headers(), None
        name = short[0]
        limit = self._limits[name]
        headers = self._headers()
        if self._retry_after:
            headers["retry-after-ms"] = str(math.ceil(1000 * limit.wait(needs[name])))
        if needs[name] > limit.most:
            message = f"Request too large for {body['model']}: Limit {limit.most:g}, Requested {needs[name]:g}."
        else:
            message = f"Rate limit reached for {body['model']} on {name}"
        return headers, {"error": {"message": message, "type": name, "code": "rate_limit_exceeded"}}

    def _headers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, limit in self._limits.items():
            facts = {"limit": f"{limit.most:g}", "remaining": str(math.floor(limit.left))}
            if self._told == "openai":
                facts["reset"] = f"{max(0.0, limit.reset):.3f}s"
                found |= {f"x-ratelimit-{fact}-{name}": value for fact, value in facts.items()}
            elif self._told == "anthropic":
                at = time.gmtime(math.ceil(time.time() + limit.reset))
                facts["reset"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", at)
                found |= {f"anthropic-ratelimit-{name}-{fact}": value for fact, value in facts.items()}
        return found


def tokens_of(body: dict[str, Any]) -> float:
    """The tokens that a request is charged: its text, and the most that it asks for."""
    return len(json.dumps(body.get("messages", []))) // 4 + (body.get("max_tokens") or 16)
