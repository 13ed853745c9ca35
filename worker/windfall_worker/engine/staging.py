"""Who is computed together: prompts of like length.

A batch of prompts is padded to its longest, and what is computed of the padding is thrown away: beside a prompt of
2,000 tokens one of 10 costs as much. The oldest that waits is always among the next, so nobody waits for ever. Pure.
"""

from __future__ import annotations

from typing import Final

_SHORT: Final = 64  # tokens; prompts up to here are alike: a row more costs less than a step more
_ALIKE: Final = 0.75  # of the longest


class Staging:
    """Sequences that may start, oldest first, with the tokens that are to be computed of their prompts."""

    def __init__(self, step: int, budget: int) -> None:
        self._step = step
        self._budget = budget
        self._lengths: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, sequence: int, length: int) -> None:
        """It waits from now on."""
        self._lengths[sequence] = length

    def discard(self, sequence: int) -> None:
        """It waits no more, if it did."""
        self._lengths.pop(sequence, None)

    def take(self) -> list[int]:
        """The oldest and those like it, as many as a step computes together; they wait no more."""
        group: list[int] = []
        shortest = longest = next(iter(self._lengths.values()), 0)
        for sequence, length in self._lengths.items():
            low, high = min(shortest, length), max(longest, length)
            if high > _SHORT and low < _ALIKE * high:
                continue
            if group and (len(group) + 1) * min(high, self._step) > self._budget:
                break
            group.append(sequence)
            shortest, longest = low, high
        for sequence in group:
            del self._lengths[sequence]
        return group
