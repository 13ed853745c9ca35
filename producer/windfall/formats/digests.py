"""A compact set of strings: it keeps only their 64-bit hashes, in at most 24 bytes each.

A `set` of a million such hashes takes 64 MB; this takes 17. Strings with the same hash count as equal: for a million
strings that happens once in 40 million files.
"""

from __future__ import annotations

from array import array
from typing import Final

_MASK: Final = (1 << 64) - 1
_FIRST: Final = 1 << 10


class Digests:
    """Open addressing with linear probing in an array; 0 marks a free slot.

    One thread may add while another looks up, so a new array is complete before it replaces the old one.
    """

    def __init__(self) -> None:
        self._places = array("Q", bytes(8 * _FIRST))
        self._count = 0

    def add(self, text: str) -> bool:
        """Add a string; False if it was already there."""
        digest = _digest(text)
        place = _find(self._places, digest)
        if self._places[place] == digest:
            return False
        self._places[place] = digest
        self._count += 1
        if 3 * self._count > 2 * len(self._places):
            self._grow()
        return True

    def __contains__(self, text: str) -> bool:
        digest, places = _digest(text), self._places
        return places[_find(places, digest)] == digest

    def __len__(self) -> int:
        return self._count

    def _grow(self) -> None:
        places = array("Q", bytes(16 * len(self._places)))
        for digest in self._places:
            if digest:
                places[_find(places, digest)] = digest
        self._places = places


def _find(places: array[int], digest: int) -> int:
    """The slot where it is, or would be."""
    last = len(places) - 1
    place = digest & last
    while (found := places[place]) and found != digest:
        place = (place + 1) & last
    return place


def _digest(text: str) -> int:
    return hash(text) & _MASK or 1
