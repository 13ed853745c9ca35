"""A progress bar on stderr, where that is a terminal, and nothing otherwise."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class RowProgress:
    """Rows finished of a total that may still be unknown, rows a second, time left, failures."""

    def __init__(self, what: str, *, done: int = 0, beside_stdout: bool = False) -> None:
        # Rows that go to the same terminal as the bar would tear it apart.
        self._shown = sys.stderr.isatty() and not (beside_stdout and sys.stdout.isatty())
        self._what = what
        self._start = done
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        if self._shown:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[failed]}", style="red"),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(self._what, total=None, completed=self._start, rate="", failed="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, what: str) -> None:
        """Say what is going on now, and count the time from here."""
        if self._bar is not None:
            self._bar.reset(self._task, completed=self._start, total=None, description=what, rate="", failed="")

    def update(self, done: int, total: int | None, failed: int) -> None:
        """Show these numbers. `total` is None for as long as nobody knows it."""
        if self._bar is None:
            return
        task = self._bar.tasks[0]
        elapsed = task.elapsed or 0.0
        rate = f"{(done - self._start) / elapsed:.1f} rows/s" if elapsed > 0.5 else ""
        shown = f"{failed} failed" if failed else ""
        self._bar.update(self._task, completed=done, total=total, rate=rate, failed=shown)

    def explain(self, failures: str) -> None:
        """Show in other words what failed, until the next update."""
        if self._bar is not None:
            self._bar.update(self._task, failed=failures)
