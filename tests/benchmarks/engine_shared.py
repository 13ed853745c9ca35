"""Prompts of 1,400 tokens of which all but 30 are shared, 16 tokens out, through the whole system.

    python tests/benchmarks/engine_shared.py [--runs 5] [--row groups] [--alone]

Every round has beginnings of its own. The server is given each of them before the clock starts; Windfall computes them
while it runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from _engine import request
from _engine_table import BATCH, SERVER, Row, main

from windfall import CompletionRequest

PROMPTS, TOKENS = 64, 16
SHARED = 1370  # of 1,400 tokens; the template has 6 before the text and 13 after it


def shared(number: int, *, groups: int = 1, prompts: int = PROMPTS) -> Sequence[CompletionRequest]:
    """Prompts whose groups take turns in the file."""
    return [request(_beginning(number, n % groups) + f"question {n:08}", TOKENS) for n in range(prompts)]


def _question(n: int) -> str:
    """Seventeen tokens that differ from the first on, or nearly: nothing beyond the beginning is worth sharing."""
    return hashlib.sha256(str(n).encode()).hexdigest()[:17]


def _beginning(number: int, group: int) -> str:
    words = f"round {number}, group {group}: a beginning that many rows of a file have in common; "
    return (words * (1 + SHARED // len(words)))[: SHARED - 6]


ROWS = (
    Row("one shared beginning", shared, {BATCH: 12.0, SERVER: 1.2}, lambda requests: requests[:1]),
    Row(
        "four shared beginnings, interleaved",
        lambda number: shared(number, groups=4, prompts=2 * PROMPTS),
        {SERVER: 1.5},
        lambda requests: requests[:4],
    ),
)

if __name__ == "__main__":
    main("engine_shared", __doc__, ROWS)
