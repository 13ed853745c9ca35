"""256 different short prompts through the whole system, beside mlx-lm's `batch_generate` and its server.

    python tests/benchmarks/engine_short.py [--runs 5] [--row seed] [--alone]

Greedy, sampled, and a quarter of them sampled with a seed for each request, which the server honours by serving them
one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from _engine import request
from _engine_table import BATCH, SERVER, Row, main

from windfall import CompletionRequest

PROMPTS, TOKENS = 256, 64
SAMPLED: dict[str, Any] = {"temperature": 0.8, "top_p": 0.95}


def short(number: int, *, prompts: int = PROMPTS, seeded: bool = False, **options: Any) -> Sequence[CompletionRequest]:
    """Prompts that no round has seen."""
    return [
        request(f"prompt number {number}.{n}", TOKENS, **options, **({"seed": n + 1} if seeded else {}))
        for n in range(prompts)
    ]


ROWS = (
    Row("short prompts, greedy", short, {BATCH: 0.97, SERVER: 1.1}),
    Row("short prompts, temperature 0.8, top_p 0.95", lambda n: short(n, **SAMPLED), {SERVER: 1.2}),
    Row(
        "short prompts, each with a seed",
        lambda n: short(n, prompts=PROMPTS // 4, seeded=True, **SAMPLED),
        {SERVER: 3.0},
    ),
)

if __name__ == "__main__":
    main("engine_short", __doc__, ROWS)
