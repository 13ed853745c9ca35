"""The tokens that an endpoint says it counted, in any of the formats that endpoints use.

    prompt_tokens, completion_tokens, …_tokens_details                 OpenAI and most compatible servers
    input_tokens, output_tokens, cache_read_input_tokens, …            Anthropic: what was cached is counted apart
    prompt_cache_hit_tokens                                            DeepSeek
    cached_tokens beside prompt_tokens                                 Moonshot
    a total_tokens above prompt and completion together                Gemini, xAI: thinking is not in completion_tokens

Counts may be floats or text (`12.0`, `"12"`), and anything may be null.
"""

from __future__ import annotations

import math
from typing import Any, Final

from windfall.result import Usage

#: No count is larger: a number beyond it is a mistake, and must not spoil the sums of a batch.
_MOST: Final = 1 << 40


def usage_of(said: Any) -> Usage | None:
    """What a `usage` object counts, or None if there is none."""
    if not isinstance(said, dict):
        return None
    if "input_tokens" in said or "output_tokens" in said:
        return _anthropic(said)
    prompt, completion, total = (_count(said.get(f"{name}_tokens")) for name in ("prompt", "completion", "total"))
    cached = _detail(said, "prompt", "cached") or _count(said.get("cached_tokens"))
    reasoning = _detail(said, "completion", "reasoning") or _count(said.get("reasoning_tokens"))
    apart = total - prompt - completion
    if completion and apart > 0 and reasoning in (0, apart):
        completion, reasoning = completion + apart, apart
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached or _count(said.get("prompt_cache_hit_tokens")),
        reasoning_tokens=reasoning,
    )


def usage_in(answer: Any) -> Usage | None:
    """The usage that an answer, a chunk or an error reports, wherever it does; None if it reports none."""
    if not isinstance(answer, dict):
        return None
    choices = answer.get("choices")
    # Anthropic's first event has it in its message, Groq in a field of its own, Moonshot in the choice.
    choice = choices[0] if isinstance(choices, list) and choices else None
    for place in (answer, answer.get("message"), answer.get("x_groq"), choice):
        usage = usage_of(place.get("usage")) if isinstance(place, dict) else None
        if usage:
            return usage
    return None


def _anthropic(said: dict[str, Any]) -> Usage:
    cached = _count(said.get("cache_read_input_tokens"))
    written = _count(said.get("cache_creation_input_tokens"))
    return Usage(
        prompt_tokens=_count(said.get("input_tokens")) + cached + written,
        completion_tokens=_count(said.get("output_tokens")),
        cached_tokens=cached,
        reasoning_tokens=_detail(said, "output", "thinking"),
    )


def _detail(said: dict[str, Any], whole: str, part: str) -> int:
    details = said.get(f"{whole}_tokens_details")
    return _count(details.get(f"{part}_tokens")) if isinstance(details, dict) else 0


def _count(value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return math.ceil(number) if 0 < number <= _MOST else 0
