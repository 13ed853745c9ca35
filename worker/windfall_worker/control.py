"""How a running worker is steered: the one Protocol by which everything beside it holds it, and its gate."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Who(StrEnum):
    """Who may have a reason, and how the metrics call it."""

    OPERATOR = "operator"  #: a person, from afar
    CITIZEN = "citizen"  #: the rules of this machine
    SLEEP = "sleep"  #: the machine itself


class Gate:
    """Open while there is no reason against it. Each of those who watch something has one reason at most."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._draining = False

    @property
    def open(self) -> bool:
        """Whether new jobs may be claimed."""
        return not (self._reasons or self._draining)

    @property
    def draining(self) -> bool:
        """Whether it is shut for good."""
        return self._draining

    @property
    def why(self) -> str | None:
        """The reasons in words, or None while it is open."""
        return "; ".join(self._reasons.values()) or None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Who keeps it shut."""
        return tuple(self._reasons)

    def shut(self, who: str, why: str) -> bool:
        """`who` has this reason now. Whether the gate was open until then."""
        was_open = self.open
        self._reasons[who] = why
        return was_open

    def lift(self, who: str) -> bool:
        """`who` has no reason any more. Whether that opened the gate."""
        return self._reasons.pop(who, None) is not None and self.open

    def drain(self) -> None:
        """Shut it for good."""
        self._draining = True


class Steerable(Protocol):
    """A running worker, as its orders, its machine, its heartbeat and its metrics hold it."""

    id: str
    gate: Gate

    @property
    def busy(self) -> bool:
        """Whether a job runs here. Those that have ended and wait for Redis do not count."""

    @property
    def ends_waiting(self) -> int:
        """How many ends of jobs wait until Redis takes them."""

    @property
    def counts(self) -> tuple[int, int]:
        """How many jobs it has completed, and how many ended otherwise."""

    def pause(self, who: str, why: str) -> None:
        """Claim nothing more for `who`'s reason, and hand back what has not begun; what runs goes on."""

    def resume(self, who: str) -> None:
        """`who` no longer has a reason against new jobs."""

    def drain(self) -> None:
        """Claim nothing more, ever, and end once what runs has ended or its time is up."""

    async def hand_back(self, within: float) -> bool:
        """Give running jobs so many seconds to end, and put the rest back into their lanes. Call `pause` before.

        Returns whether Redis has all of them.
        """
