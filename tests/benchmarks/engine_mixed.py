"""Prompts of 10 to 2,000 tokens with 1 to 256 tokens out, mixed, beside `batch_generate` in chunks of 32.

    python tests/benchmarks/engine_mixed.py [--runs 5] [--alone]

A chunk ends with its longest completion. Windfall starts a row whenever another ends.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from _engine import request
from _engine_table import BATCH, Row, main

from windfall import CompletionRequest

PROMPTS = 64
AROUND = 19  # tokens of the template


def mixed(number: int) -> Sequence[CompletionRequest]:
    """Lengths evenly spread on a logarithmic scale, as those of real files are; no two texts begin alike."""
    rng = random.Random(number)
    return [
        request(_text(rng, _between(rng, AROUND + 1, 2000) - AROUND), _between(rng, 1, 256)) for _ in range(PROMPTS)
    ]


def _between(rng: random.Random, low: int, high: int) -> int:
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


def _text(rng: random.Random, length: int) -> str:
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz    ", k=length))


ROWS = (Row("mixed lengths", mixed, {BATCH: 1.2}, chunk=32),)

if __name__ == "__main__":
    main("engine_mixed", __doc__, ROWS)
