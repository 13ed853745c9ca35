"""A set of a batch's row numbers, one bit each: 10 million rows take little more than a megabyte."""

from __future__ import annotations

from typing import Final

_BITS: Final = 1 << 13  # per chunk; rows come roughly in order, so chunks fill up


class RowSet:
    """The row numbers that were added."""

    def __init__(self) -> None:
        self._pieces: dict[int, bytearray] = {}
        self._count = 0

    def add(self, row: int) -> bool:
        """Add a row; False if it was already there."""
        piece = self._pieces.get(row // _BITS)
        if piece is None:
            piece = self._pieces[row // _BITS] = bytearray(_BITS // 8)
        place, bit = row % _BITS // 8, 1 << row % 8
        if piece[place] & bit:
            return False
        piece[place] |= bit
        self._count += 1
        return True

    def discard(self, row: int) -> None:
        """Remove a row, if it is there."""
        if row in self:
            self._pieces[row // _BITS][row % _BITS // 8] ^= 1 << row % 8
            self._count -= 1

    def __contains__(self, row: int) -> bool:
        piece = self._pieces.get(row // _BITS)
        return piece is not None and bool(piece[row % _BITS // 8] & 1 << row % 8)

    def __len__(self) -> int:
        return self._count
