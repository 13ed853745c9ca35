"""How long an endpoint asks callers to wait: `retry-after-ms` and `Retry-After`, in every form that is in use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

#: Seconds; a longer time is reduced to this: a job that is put back for a year is as good as lost.
LONGEST: Final = 86_400.0


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait (at most `LONGEST`), or None if the headers contain no valid time.

    `retry-after-ms` is OpenAI's and wins; `Retry-After` is a number of seconds (endpoints also send fractions, which
    RFC 9110 does not allow) or a date. A date is compared with the response's own `Date`: a Mac's clock may be off.
    """
    found = _named(headers)
    return None if found is None else min(found, LONGEST)


def _named(headers: Mapping[str, str]) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    then = _date(value)
    if then is None:
        return None
    now = _date(headers.get("date")) or datetime.now(UTC)
    return max(0.0, (then - now).total_seconds())


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _date(value: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
