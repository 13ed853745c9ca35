"""A clock that a test moves on."""

from __future__ import annotations


class FakeClock:
    """Stands still until it is moved; called, it says what time it is (seconds)."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let so much time go by."""
        self.now += seconds
