"""Which sequence starts when: slots, memory and shared prefixes of prompts. Pure: no MLX, no clock, no threads.

A sequence reserves room for its prompt and all tokens that it may generate, because memory cannot be reclaimed from it
later. mlx-lm pads the keys and values of a batch to its longest sequence, so a batch costs rows x longest reserve, and
that product must fit. First come, first served, with two exceptions that `overtaken` bounds: a sequence that does not
fit lets smaller ones pass, and jobs that share a prefix are run together. No sequence is overtaken more often than
there are slots; after that, all others wait for it.

Sharing: prompts whose first `LEAST_PREFIX` tokens are equal are a family. The first of a family to start computes what
it has in common with the others (the prefix for which length x members is largest); the others wait until that is
computed, and start from a copy. A family is remembered for a while after its last member has left, for later jobs.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

#: Tokens. Computing a shorter prefix again is faster than copying it.
LEAST_PREFIX: Final = 64

#: Tokens by which mlx-lm's caches grow at a time.
_PAD: Final = 256
#: Families remembered, at most.
_FAMILIES: Final = 256
#: Members of a family compared to find a prefix.
_COMPARED: Final = 64
#: Prefixes remembered for a family.
_PREFIXES: Final = 8
#: A full batch starts new sequences once this fraction (1/n) of its slots is free ...
_TOGETHER: Final = 8
#: ... and makes none of them wait for more than this many steps.
_PATIENCE: Final = 8


@dataclass(frozen=True, slots=True)
class Start:
    """Sequence `id` starts now. Its first `share` tokens are worth keeping for others (0: none)."""

    id: int
    share: int


@dataclass(slots=True, eq=False)
class _Entry:
    id: int
    tokens: list[int]
    reserve: int
    family: _Family | None
    overtaken: int = 0


@dataclass(slots=True, eq=False)
class _Family:
    waiting: dict[int, _Entry] = field(default_factory=dict)
    computing: dict[int, list[int]] = field(default_factory=dict)  # leader's id -> the prefix
    computed: list[list[int]] = field(default_factory=list)
    last: list[int] | None = None  # the prompt that started last


class Scheduler:
    """Decides what the runner carries out. `capacity` is in tokens of keys and values, over all rows."""

    def __init__(self, slots: int, capacity: int) -> None:
        self.slots = slots
        self.capacity = capacity
        self._waiting: dict[int, _Entry] = {}
        self._running: dict[int, _Entry] = {}
        self._families: OrderedDict[tuple[int, ...], _Family] = OrderedDict()
        self._favoured: _Family | None = None
        self._changed = False
        self._waited = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._running)

    @property
    def active(self) -> int:
        """How many sequences are running."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many sequences are waiting."""
        return len(self._waiting)

    @property
    def free_slots(self) -> int:
        """How many more could start if there is enough memory."""
        return max(0, self.slots - len(self))

    def fits_alone(self, reserve: int) -> bool:
        """Whether a sequence of this many tokens can ever run."""
        return _padded(reserve) <= self.capacity

    def add(self, sequence: int, tokens: list[int], reserve: int) -> None:
        """Add a sequence; `reserve` is the length of its prompt plus the most that it may generate, in tokens."""
        if not self.fits_alone(reserve):
            raise ValueError(f"a sequence of {reserve} tokens never fits into {self.capacity}")
        entry = _Entry(sequence, tokens, _padded(reserve), self._family(tokens))
        self._waiting[sequence] = entry
        if entry.family:
            entry.family.waiting[sequence] = entry
        self._changed = True

    def remove(self, sequence: int) -> None:
        """Remove a sequence that has ended, in whatever way: others that waited for it may start."""
        entry = self._running.pop(sequence, None) or self._waiting.pop(sequence, None)
        if entry and entry.family:
            entry.family.waiting.pop(sequence, None)
            entry.family.computing.pop(sequence, None)
        self._changed = True

    def shared(self, sequence: int) -> None:
        """Note that the prefix which this sequence computes for others is computed, and kept."""
        entry = self._running[sequence]
        if entry.family and (prefix := entry.family.computing.pop(sequence, None)):
            entry.family.computed = [prefix, *entry.family.computed[: _PREFIXES - 1]]
        self._changed = True

    def admit(self) -> list[Start]:
        """The sequences that start now, in order."""
        starts: list[Start] = []
        if not self._changed or self._put_off():
            return starts
        while len(self._running) < self.slots and (entry := self._choose()):
            starts.append(self._start(entry))
        self._changed = False
        return starts

    def _put_off(self) -> bool:
        """Whether to wait for more free slots: one prompt delays a busy batch nearly as much as several do.

        Only if more sequences are waiting than slots are free, and only for `_PATIENCE` calls.
        """
        free = self.slots - len(self._running)
        wanted = self._running and free * _TOGETHER < self.slots and len(self._waiting) > free
        if wanted and self._waited < _PATIENCE:
            self._waited += 1
            return True
        self._waited = 0
        return False

    def _choose(self) -> _Entry | None:
        passed: list[_Entry] = []
        for entry in self._candidates():
            if self._held(entry):
                continue
            if self._fits(entry):
                self._overtake(entry)
                return entry
            if entry.overtaken >= self.slots:
                return None
            passed.append(entry)
        return None

    def _candidates(self) -> Iterator[_Entry]:
        """The most often overtaken first, then the family that started last, then by arrival."""
        patient = [entry for entry in self._waiting.values() if entry.overtaken >= self.slots]
        relatives = list(self._favoured.waiting.values()) if self._favoured else []
        seen: set[int] = set()
        for entry in itertools.chain(patient, relatives, self._waiting.values()):
            if entry.id not in seen:
                seen.add(entry.id)
                yield entry

    def _overtake(self, chosen: _Entry) -> None:
        for entry in self._waiting.values():
            if entry is chosen:
                return
            if not self._held(entry):
                entry.overtaken += 1

    def _fits(self, entry: _Entry) -> bool:
        widest = max((running.reserve for running in self._running.values()), default=0)
        return (len(self._running) + 1) * max(widest, entry.reserve) <= self.capacity

    def _held(self, entry: _Entry) -> bool:
        """Whether a prefix of this prompt is being computed at the moment."""
        return entry.family is not None and bool(entry.family.computing)

    def _start(self, entry: _Entry) -> Start:
        del self._waiting[entry.id]
        self._running[entry.id] = entry
        family = entry.family
        self._favoured = family
        if not family:
            return Start(entry.id, 0)
        del family.waiting[entry.id]
        share = _worth_sharing(entry, family)
        known = max((_common(prefix, entry.tokens) for prefix in family.computed), default=0)
        if share - known < LEAST_PREFIX:
            share = known
        else:
            family.computing[entry.id] = entry.tokens[:share]
        family.last = entry.tokens
        return Start(entry.id, share)

    def _family(self, tokens: list[int]) -> _Family | None:
        if len(tokens) <= LEAST_PREFIX:
            return None
        key = tuple(tokens[:LEAST_PREFIX])
        family = self._families.setdefault(key, _Family())
        self._families.move_to_end(key)
        if len(self._families) > _FAMILIES:
            for old in [key for key, other in self._families.items() if not other.waiting][: -_FAMILIES // 2]:
                del self._families[old]
        return family


def _worth_sharing(entry: _Entry, family: _Family) -> int:
    """How much of the prompt to compute for others: the length that saves most over all sequences that share it."""
    others = [other.tokens for other in itertools.islice(family.waiting.values(), _COMPARED)]
    if family.last is not None:
        others.append(family.last)
    # The last token of a prompt is always computed: its logits give the first token of the completion.
    lengths = sorted(min(_common(other, entry.tokens), len(entry.tokens) - 1, len(other) - 1) for other in others)
    worth = {length: length * (len(lengths) - rank) for rank, length in reversed(list(enumerate(lengths)))}
    best = max(worth, key=lambda length: worth[length], default=0)
    return best if best >= LEAST_PREFIX else 0


def _common(left: list[int], right: list[int]) -> int:
    """The length of the common prefix, found by bisection: slices are compared in C."""
    low, high = 0, min(len(left), len(right))
    if left[:high] == right[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _padded(tokens: int) -> int:
    return -(-tokens // _PAD) * _PAD
