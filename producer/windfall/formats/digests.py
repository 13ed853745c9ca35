"""A set of texts of which only 64-bit hashes are kept, in 8 bytes each at most thrice over.

A `set` of a million such hashes takes 64 MB; this takes 17. Two texts of one hash are taken for one: among a million
that happens once in 40 million files.
"""

from __future__ import annotations

from array import array
from typing import Final

_MASK: Final = (1 << 64) - 1
_FIRST: Final = 1 << 10


class Digests:
    """Open addressing with linear probing in an array; 0 marks a free place."""

    def __init__(self) -> None:
        self._places = array("Q", bytes(8 * _FIRST))
        self._count = 0

    def add(self, text: str) -> bool:
        """Add a text; False if it was there."""
        digest = _digest(text)
        place = self._find(digest)
        if self._places[place] == digest:
            return False
        self._places[place] = digest
        self._count += 1
        if 3 * self._count > 2 * len(self._places):
            self._grow()
        return True

    def __contains__(self, text: str) -> bool:
        digest = _digest(text)
        return self._places[self._find(digest)] == digest

    def __len__(self) -> int:
        return self._count

    def _find(self, digest: int) -> int:
        """Where it is, or where it would be."""
        places = self._places
        last = len(places) - 1
        place = digest & last
        while (found := places[place]) and found != digest:
            place = (place + 1) & last
        return place

    def _grow(self) -> None:
        old = self._places
        self._places = array("Q", bytes(16 * len(old)))
        for digest in old:
            if digest:
                self._places[self._find(digest)] = digest


def _digest(text: str) -> int:
    return hash(text) & _MASK or 1
