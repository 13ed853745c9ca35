"""Facts derived from successive looks at a batch: recent pace, time left, and its JSON form."""

from __future__ import annotations

from collections import defaultdict

from windfall.batch import BatchStatus
from windfall.cli.screen.pace import Pace


class Paces:
    """The recent pace of batches in rows per second: an earlier pause does not count."""

    def __init__(self) -> None:
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)

    def note(self, *batches: BatchStatus) -> None:
        """Remember a look at all batches; those no longer present are forgotten."""
        for gone in self._paces.keys() - {batch.id for batch in batches}:
            del self._paces[gone]
        for batch in batches:
            if batch.paused:
                self._paces[batch.id].stop()
            else:
                self._paces[batch.id].note(batch.now, batch.finished)

    def of(self, batch: BatchStatus) -> float | None:
        """Rows per second, or None while that is unknown."""
        return self._paces[batch.id].at(batch.now)


def pace_of(batch: BatchStatus, pace: float | None) -> tuple[float | None, float | None]:
    """Rows per second and seconds left, by the recent pace if known; None while no worker works on it."""
    if pace is None or batch.paused:
        return (batch.rate, batch.eta) if batch.running else (None, None)
    return pace, (batch.total - batch.finished) / pace if pace else None


def as_json(batch: BatchStatus) -> dict[str, object]:
    """The counts and what follows from them, for `--json`."""
    derived = {"state": batch.state.value, "finished": batch.finished, "rate": batch.rate, "eta": batch.eta}
    return batch.model_dump(mode="json") | derived | {"kept_until": batch.kept_until}
