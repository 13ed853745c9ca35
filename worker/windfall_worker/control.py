"""How a running worker is steered: its gate, and the one Protocol through which other parts reach it."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Protocol


class Who(StrEnum):
    """Who can hold new jobs back, by the name that the metrics use."""

    OPERATOR = "operator"  #: a person, with `windfall pause`
    CITIZEN = "citizen"  #: the rules of this machine
    SLEEP = "sleep"  #: the machine is about to sleep


class Gate:
    """Open while there is no reason against new jobs. Each `Who` has at most one reason at a time."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._draining = False
        self.changed = asyncio.Event()  #: set with each change; who waits for it clears it

    @property
    def open(self) -> bool:
        """Whether new jobs may be claimed."""
        return not (self._reasons or self._draining)

    @property
    def draining(self) -> bool:
        """Whether the gate is shut for good."""
        return self._draining

    @property
    def why(self) -> str | None:
        """The reasons in words, or None when there are none."""
        return "; ".join(self._reasons.values()) or None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Who keeps the gate shut."""
        return tuple(self._reasons)

    def shut(self, who: str, why: str) -> bool:
        """Set `who`'s reason. Returns whether the gate was open until then."""
        was_open = self.open
        self._reasons[who] = why
        self.changed.set()
        return was_open

    def lift(self, who: str) -> bool:
        """Withdraw `who`'s reason. Returns whether that opened the gate."""
        lifted = self._reasons.pop(who, None) is not None
        if lifted:
            self.changed.set()
        return lifted and self.open

    def drain(self) -> None:
        """Shut the gate for good."""
        self._draining = True
        self.changed.set()


class Steerable(Protocol):
    """A running worker, as its orders, its machine's watchers, its heartbeat and its metrics see it."""

    id: str
    gate: Gate

    @property
    def busy(self) -> bool:
        """Whether a job is running here. Jobs that have ended and are waiting for Redis do not count."""

    @property
    def ends_waiting(self) -> int:
        """How many results and returned jobs Redis has yet to accept."""

    @property
    def counts(self) -> tuple[int, int]:
        """How many jobs have been completed, and how many ended in any other way."""

    def pause(self, who: str, why: str) -> None:
        """Stop claiming for `who`'s reason, and hand back what has not begun; running jobs continue."""

    def resume(self, who: str) -> None:
        """Withdraw `who`'s reason against new jobs."""

    def drain(self) -> None:
        """Stop claiming for good, and end once running jobs have ended or their time is up."""

    async def hand_back(self, within: float) -> bool:
        """Give running jobs `within` seconds to end, and put the rest back into their lanes. Call `pause` first.

        Returns whether Redis has accepted all of them.
        """
