"""A progress bar on stderr if that is a terminal, and nothing otherwise."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from windfall.cli.screen.console import duration, printable
from windfall.cli.screen.pace import Pace

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

#: Columns below which the rate, and then the time left, are not shown.
_WIDE: Final = 72
_MIDDLE: Final = 48
_PER_SECOND: Final = 8  # drawings


@dataclass(frozen=True, slots=True)
class RowsDone:
    """The progress of something. `total` is None while unknown; `rate` is in rows per second."""

    what: str
    done: int = 0
    total: int | None = None
    failed: int = 0
    rate: float | None = None
    paused: bool = False
    remark: str = ""  #: a remark, shown on its own line

    def drawn(self, width: int) -> RenderableType:
        """The bar, and the remark below it. Nothing wraps; a narrow terminal shows less."""
        from rich.console import Group  # noqa: PLC0415 - a tenth of a light command's start, and for terminals alone
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        of_total = f"{self.done:,}/{self.total:,}" if self.total is not None else f"{self.done:,}"
        facts = [of_total]
        if self.paused:
            facts.append("paused")
        elif self.rate is not None:
            facts += [f"{self.rate:,.1f} rows/s"] if width >= _WIDE else []
            if self.rate and self.total and self.done < self.total and width >= _MIDDLE:
                facts.append(f"{duration((self.total - self.done) / self.rate)} left")
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=width // 3)
        grid.add_column(ratio=1)
        for _ in facts:
            grid.add_column(no_wrap=True, justify="right")
        bar = ProgressBar(total=self.total, completed=self.done, pulse=self.total is None, complete_style="cyan")
        failed = [Text(f"{self.failed:,} failed", "red")] if self.failed else []
        if failed:
            grid.add_column(no_wrap=True)
        grid.add_row(Text(printable(self.what)), bar, *(Text(fact) for fact in facts), *failed)
        below = [Text(printable(self.remark), "red", no_wrap=True, overflow="ellipsis")] if self.remark else []
        return Group(grid, *below)


class RowProgress:
    """Rows finished of a total that may still be unknown, recent rows per second, time left, failures."""

    def __init__(self, what: str, *, done: int = 0, beside_stdout: bool = False) -> None:
        # Rows printed to the same terminal would break up the bar.
        self._shown = sys.stderr.isatty() and not (beside_stdout and sys.stdout.isatty())
        self._start = done
        self._rows = RowsDone(what, done)
        self._pace = Pace()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._shown:
            from rich.console import Console  # noqa: PLC0415 - as above
            from rich.live import Live  # noqa: PLC0415

            console = Console(stderr=True)
            self._live = Live(
                get_renderable=lambda: self.drawn(console.width), console=console, transient=True,
                refresh_per_second=_PER_SECOND,
            )  # fmt: skip
            self._pace.note(time.monotonic(), self._start)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._live is not None:
            self._live.refresh()  # show the final state, too
            self._live.stop()

    def drawn(self, width: int) -> RenderableType:
        """What is currently shown."""
        return replace(self._rows, rate=self._pace.at(time.monotonic())).drawn(width)

    def begin(self, what: str) -> None:
        """Show a new task, and restart the clock."""
        self._rows = RowsDone(what, self._start)
        self._pace = Pace()
        self._pace.note(time.monotonic(), self._start)

    def update(self, done: int, total: int | None, failed: int, *, paused: bool = False) -> None:
        """Show these numbers. `total` is None while unknown."""
        if paused:
            self._pace.stop()  # rows that end during a pause do not count either
        else:
            self._pace.note(time.monotonic(), done)
        self._rows = replace(self._rows, done=done, total=total, failed=failed, paused=paused)

    def remark(self, text: str) -> None:
        """Show this below the bar until the next remark."""
        self._rows = replace(self._rows, remark=text)
