"""Which prompts are computed together: those of similar length.

A batch of prompts is padded to the longest, and what is computed for the padding is discarded: beside a prompt of
2,000 tokens, one of 10 costs as much. The oldest waiting prompt is always in the next group, so none starves. Pure.
"""

from __future__ import annotations

from typing import Final

#: Tokens. Prompts up to this length count as similar: another row costs less than another step.
_SHORT: Final = 64
#: The least length of a similar prompt, as a share of the longest.
_SIMILAR: Final = 0.75


class Staging:
    """Sequences that may start, oldest first, with the number of prompt tokens to compute for each."""

    def __init__(self, step: int, budget: int) -> None:
        self._step = step
        self._budget = budget
        self._lengths: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, sequence: int, length: int) -> None:
        """Add a sequence."""
        self._lengths[sequence] = length

    def discard(self, sequence: int) -> None:
        """Remove a sequence, if it is waiting."""
        self._lengths.pop(sequence, None)

    def take(self) -> list[int]:
        """Remove and return the oldest and similar ones, as many as a step computes together."""
        group: list[int] = []
        shortest = longest = next(iter(self._lengths.values()), 0)
        for sequence, length in self._lengths.items():
            low, high = min(shortest, length), max(longest, length)
            if high > _SHORT and low < _SIMILAR * high:
                continue
            if group and (len(group) + 1) * min(high, self._step) > self._budget:
                break
            group.append(sequence)
            shortest, longest = low, high
        for sequence in group:
            del self._lengths[sequence]
        return group
