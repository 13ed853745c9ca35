"""What the headers of an answer say about an endpoint's rate limits.

    x-ratelimit-{limit,remaining,reset}-{requests,tokens}                      OpenAI, Groq, LiteLLM, …
    anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}  Anthropic
    x-ratelimit-{limit,remaining,reset}, ratelimit-{limit,remaining,reset}     OpenRouter and others: requests

A reset is a duration ("6m0s", "120ms"), seconds, a Unix time in seconds or milliseconds, or a date of RFC 3339. Dates
are compared with the answer's own `Date`, because this machine's clock may be off.
Sources: https://platform.openai.com/docs/guides/rate-limits, https://platform.claude.com/docs/en/api/rate-limits
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from windfall_worker.guards.limits import Counted, Told

_NAMES: Final[tuple[tuple[Counted, str], ...]] = (
    ("r", "x-ratelimit-{}-requests"),
    ("r", "anthropic-ratelimit-requests-{}"),
    ("r", "x-ratelimit-{}"),
    ("r", "ratelimit-{}"),
    ("t", "x-ratelimit-{}-tokens"),
    ("t", "anthropic-ratelimit-tokens-{}"),
    ("i", "anthropic-ratelimit-input-tokens-{}"),
    ("o", "anthropic-ratelimit-output-tokens-{}"),
)
_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_UNITS: Final = (86_400.0, 3600.0, 60.0, 1.0, 0.001)
#: Numbers above these are Unix times, in seconds and in milliseconds.
_UNIX, _UNIX_MS = 1e9, 1e12
#: Larger numbers than this are no limits.
_LARGEST: Final = 1e14
#: Seconds; a longer time is reduced to this.
_LONGEST: Final = 86_400.0


def limits_told(headers: Mapping[str, str]) -> list[Told]:
    """Every limit of which a limit and what remains of it are told. What cannot be understood is left out."""
    found: dict[Counted, Told] = {}
    for counted, pattern in _NAMES:
        if counted in found:
            continue
        limit = _number(headers.get(pattern.format("limit")))
        remaining = _number(headers.get(pattern.format("remaining")))
        if limit and remaining is not None:
            reset = _seconds(headers.get(pattern.format("reset"), ""), headers)
            found[counted] = Told(counted, limit, min(remaining, limit), reset)
    if "i" in found or "o" in found:
        found.pop("t", None)  # Anthropic's tokens are those of whichever limit is nearest
    return list(found.values())


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number <= _LARGEST else None


def _seconds(text: str, headers: Mapping[str, str]) -> float | None:
    text = text.strip()
    number = _number(text)
    if number is not None:
        if number >= _UNIX:
            number = number / (1000 if number >= _UNIX_MS else 1) - _date(headers)
        return min(max(0.0, number), _LONGEST)
    if text and (parts := _DURATION.fullmatch(text)):
        return min(sum(float(part or 0) * unit for part, unit in zip(parts.groups(), _UNITS, strict=True)), _LONGEST)
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return None
    seconds = then.timestamp() - _date(headers) if then.tzinfo else math.inf
    return min(max(0.0, seconds), _LONGEST) if math.isfinite(seconds) else None


def _date(headers: Mapping[str, str]) -> float:
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, OverflowError, TypeError):
        return time.time()
