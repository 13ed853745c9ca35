"""Why a worker takes no new jobs for now: nobody but its reasons keep the gate shut."""

from __future__ import annotations

from enum import StrEnum


class Who(StrEnum):
    """Who may have a reason, and how the metrics call it."""

    OPERATOR = "operator"  #: a person, from afar
    CITIZEN = "citizen"  #: the rules of this machine
    SLEEP = "sleep"  #: the machine itself


class Gate:
    """Open while there is no reason against it. Each of those who watch something has one reason at most."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    @property
    def open(self) -> bool:
        """Whether new jobs may be claimed."""
        return not self._reasons

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
