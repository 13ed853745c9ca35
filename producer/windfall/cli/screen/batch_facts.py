"""What follows from looks at a batch: its pace of late, the time left, and what programs get."""

from __future__ import annotations

from collections import defaultdict

from windfall.batch import BatchStatus
from windfall.cli.screen.pace import Pace


class Paces:
    """Rows a second that batches finished of late: a pause long ago does not count."""

    def __init__(self) -> None:
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)

    def note(self, *batches: BatchStatus) -> None:
        """Remember a look at all that there are; one that is not among them is forgotten."""
        for gone in self._paces.keys() - {batch.id for batch in batches}:
            del self._paces[gone]
        for batch in batches:
            if batch.paused:
                self._paces[batch.id].stop()
            else:
                self._paces[batch.id].note(batch.now, batch.finished)

    def of(self, batch: BatchStatus) -> float | None:
        """Rows a second, or None before there is anything to tell."""
        return self._paces[batch.id].at(batch.now)


def pace_of(batch: BatchStatus, pace: float | None) -> tuple[float | None, float | None]:
    """Rows a second and seconds left, by its pace of late where that is known; nothing while nobody works on it."""
    if pace is None or batch.paused:
        return (batch.rate, batch.eta) if batch.running else (None, None)
    return pace, (batch.total - batch.finished) / pace if pace else None


def as_json(batch: BatchStatus) -> dict[str, object]:
    """The counts and what follows from them."""
    derived = {"state": batch.state.value, "finished": batch.finished, "rate": batch.rate, "eta": batch.eta}
    return batch.model_dump(mode="json") | derived | {"kept_until": batch.kept_until}
