"""A worker that does nothing and can be steered, for what holds one."""

from __future__ import annotations

from dataclasses import dataclass, field

from windfall_worker.control import Gate


@dataclass
class FakeWorker:
    """Remembers what it was told."""

    id: str = "mac:1"
    gate: Gate = field(default_factory=Gate)
    busy: bool = False
    ends_waiting: int = 0
    counts: tuple[int, int] = (0, 0)
    told: list[str] = field(default_factory=list)

    def pause(self, who: str, why: str) -> None:
        """Shuts its gate."""
        self.told.append("pause")
        self.gate.shut(who, why)

    def resume(self, who: str) -> None:
        """Opens its gate."""
        self.told.append("resume")
        self.gate.lift(who)

    def drain(self) -> None:
        """Shuts its gate for good."""
        self.told.append("drain")
        self.gate.drain()

    async def hand_back(self, within: float) -> bool:
        """Has nothing to hand back."""
        self.told.append(f"hand back within {within:g} s")
        return True
