"""A part of a page: a heading and a table, made to fit a width, or as plain text for a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from windfall.cli.screen.console import printable, say, say_table

_GAP: Final = 2
_NARROWEST_BAR, _WIDEST_BAR, _NARROWEST_TEXT = 8, 40, 6
_STYLES: Final = {
    "running": "green", "closed": "green", "paused": "yellow", "half-open": "yellow", "late": "yellow",
    "draining": "cyan", "open": "red", "parked": "red",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Share:
    """A share of a total: a bar on a page, a percentage elsewhere."""

    done: int
    total: int

    def __str__(self) -> str:
        return f"{100 * self.done // self.total} %" if self.total else ""


Cell = str | Share


@dataclass(frozen=True, slots=True)
class Column:
    """`drop` is the order in which columns are dropped when there is no room: 1 goes first, 0 always stays."""

    name: str
    right: bool = False
    drop: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, rows, and remarks below them."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = field(default=())
    left_out: int = 0  #: rows left out for want of room
    unsaid: int = 0  #: remarks left out for want of room

    @property
    def height(self) -> int:
        """The lines that it takes."""
        return 1 + len(self.rows) + bool(self.left_out) + len(self.notes) + bool(self.unsaid)

    def with_fewer_rows(self) -> Section:
        """Without its last one."""
        return replace(self, rows=self.rows[:-1], left_out=self.left_out + 1)

    def with_fewer_notes(self) -> Section:
        """Without its last one."""
        return replace(self, notes=self.notes[:-1], unsaid=self.unsaid + 1)

    def fitted(self, width: int) -> RenderableType:
        """Render it for a terminal of this width: no line wraps, and columns are dropped in their order if necessary.

        Empty columns are not shown.
        """
        widths = [self._natural(index) for index in range(len(self.columns))]
        kept = [index for index in range(len(self.columns)) if any(str(row[index]) for row in self.rows)]
        while _needed(kept, widths) > width and (going := [i for i in kept if self.columns[i].drop]):
            kept.remove(min(going, key=lambda index: self.columns[index].drop))
        _share_out(kept, widths, width, [self._holds_bars(index) for index in range(len(self.columns))])
        table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_edge=False, header_style="dim")
        for index in kept:
            column = self.columns[index]
            table.add_column(
                column.name, justify="right" if column.right else "left", width=widths[index], no_wrap=True,
                overflow="ellipsis",
            )  # fmt: skip
        for row in self.rows:
            table.add_row(*(_drawn(row[index], widths[index]) for index in kept))
        below = [Text(f"… and {self.left_out} more", "dim")] if self.left_out else []
        below += [Text(printable(note), "yellow") for note in self.notes]
        below += [Text(f"… and {self.unsaid} more of these lines", "dim")] if self.unsaid else []
        for line in below:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(table, *below)

    def say(self) -> None:
        """Print it with all its columns, as plain text."""
        names = [column.name for column in self.columns]
        right = [column.name for column in self.columns if column.right]
        say_table(names, [[str(cell) for cell in row] for row in self.rows], right=right)
        for note in self.notes:
            say(printable(note))

    def _holds_bars(self, index: int) -> bool:
        return any(isinstance(row[index], Share) for row in self.rows)

    def _natural(self, index: int) -> int:
        if self._holds_bars(index):
            return _NARROWEST_BAR
        cells = [printable(str(row[index])) for row in self.rows]
        return max(cell_len(text) for text in [self.columns[index].name, *cells])


def _needed(kept: Sequence[int], widths: Sequence[int]) -> int:
    return sum(widths[index] for index in kept) + _GAP * (len(kept) - 1)


def _share_out(kept: Sequence[int], widths: list[int], width: int, bars: Sequence[bool]) -> None:
    """Give spare width to the bars; take missing width from the widest columns."""
    spare = width - _needed(kept, widths)
    for index in kept:
        if bars[index] and spare > 0:
            widths[index] = min(_WIDEST_BAR, widths[index] + spare)
    while _needed(kept, widths) > width:
        widest = max(kept, key=lambda index: widths[index])
        if widths[widest] <= _NARROWEST_TEXT:
            return
        widths[widest] -= 1


def _drawn(cell: Cell, width: int) -> RenderableType:
    if isinstance(cell, Share):
        return ProgressBar(total=max(cell.total, 1), completed=cell.done, width=width, complete_style="cyan")
    return Text(printable(cell), _STYLES.get(cell, ""))
