"""What is said about a batch when it is opened, as open_batch.lua gets it."""

from __future__ import annotations

from typing import Final

from windfall.batch import BatchOptions
from windfall.errors import InvalidRequest
from windfall.keys import checked_owner
from windfall.limits import Limits
from windfall.scripts import Arg

_PRIORITIES: Final = range(-9, 10)


def opening_arguments(options: BatchOptions, keep_ms: int, limits: Limits) -> list[Arg]:
    """Metadata, retention, deadline, owner, priority and class. `keep_ms` is the producer's own retention.

    Raises `InvalidRequest`.
    """
    keep, deadline, priority = options.get("keep"), options.get("deadline"), options.get("priority", 0)
    if (keep is not None and keep < 0) or (deadline is not None and deadline <= 0):
        raise InvalidRequest(
            f"keep must be at least 0 seconds and deadline more than 0, not keep={keep} and deadline={deadline}"
        )
    if priority not in _PRIORITIES:
        raise InvalidRequest(f"a priority is a whole number from -9 to 9, not {priority!r}")
    owner = options.get("owner")
    return [
        limits.checked_metadata(options.get("metadata")),
        keep_ms if keep is None else round(keep * 1000),
        0 if deadline is None else max(1, round(deadline * 1000)),
        "" if owner is None else checked_owner(owner),
        priority,
        int(options.get("interactive", False)),
    ]
