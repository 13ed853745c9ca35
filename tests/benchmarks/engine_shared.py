"""Prompts of 1,400 tokens of which all but 30 are shared, 16 tokens out, through the whole system.

    python tests/benchmarks/engine_shared.py [--runs 5] [--row groups] [--alone]

Every round has beginnings of its own. Where a side's cache is warm, it has completed two requests with each beginning
before the clock starts; where it is cold, it meets them while the clock runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from _engine import request
from _engine_table import BATCH, SERVER, WINDFALL, Row, main

from windfall import CompletionRequest

TOKENS = 16
SHARED = 1370  # of 1,400 tokens; the template has 6 before the text and 13 after it


def shared(number: int, prompts: int, groups: int = 1) -> Sequence[CompletionRequest]:
    """Prompts whose groups take turns in the file."""
    return [request(_beginning(number, n % groups) + _question(n), TOKENS) for n in range(prompts)]


def _question(n: int) -> str:
    """Seventeen tokens that differ from the first on, or nearly: nothing beyond the beginning is worth sharing."""
    return hashlib.sha256(str(n).encode()).hexdigest()[:17]


def _beginning(number: int, group: int) -> str:
    words = f"round {number}, group {group}: a beginning that many rows of a file have in common; "
    return (words * (1 + SHARED // len(words)))[: SHARED - 6]


def _rows(name: str, prompts: int, groups: int, target: float) -> tuple[Row, ...]:
    """The same work beside the server three times: both caches warm, only the server's, none."""

    def work(number: int) -> Sequence[CompletionRequest]:
        return shared(number, prompts, groups)

    def beginnings(number: int) -> Sequence[CompletionRequest]:
        return [request(_beginning(number, n % groups) + f"warm {n}", 1) for n in range(2 * groups)]

    return (
        Row(f"{name}, caches warm", work, {SERVER: target}, beginnings, frozenset({WINDFALL, SERVER})),
        Row(f"{name}, the server's cache warm", work, {SERVER: None}, beginnings, frozenset({SERVER})),
        Row(f"{name}, caches cold", work, {SERVER: target}),
    )


ROWS = (
    Row("one shared beginning, caches cold", lambda number: shared(number, 16), {BATCH: 12.0}),
    *_rows("one shared beginning", 128, 1, 1.2),
    *_rows("four shared beginnings, interleaved", 128, 4, 1.5),
)

if __name__ == "__main__":
    main("engine_shared", __doc__, ROWS)
