"""Who shares a lane, as a table: only lanes that several batches share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from windfall.cli.screen.section import Column, Section
from windfall.queue.shares import LaneSharer

#: Batches shown of one lane.
_MOST: Final = 5
_COLUMNS: Final = (
    Column("SHARED LANE"), Column("ROUTE", drop=3), Column("BATCH"), Column("OWNER", drop=4),
    Column("PRIORITY", right=True, drop=1), Column("WAITING", right=True, drop=2), Column("SHARE", right=True),
)  # fmt: skip


def sharing_section(sharers: Sequence[LaneSharer]) -> Section:
    """The greatest shares of each lane, and how many more there are."""
    rows: list[list[str]] = []
    notes = []
    for (model, route), group in groupby(sharers, key=lambda each: (each.model, each.route.value)):
        lane = list(group)
        if len(lane) < 2:
            continue
        rows += [_row(each) for each in lane[:_MOST]]
        if more := lane[_MOST:]:
            share = _percent(sum(each.share for each in more))
            batches = "1 more batch shares" if len(more) == 1 else f"{len(more):,} more batches share"
            notes.append(f"{batches} {model} ({route}), with {share} of it")
    return Section(_COLUMNS, rows, notes)


def _row(each: LaneSharer) -> list[str]:
    priorities = ", ".join(str(priority) for priority in each.priorities if each.priorities != (0,))
    waiting, share = f"{each.waiting:,}", _percent(each.share)
    return [each.model, each.route.value, each.batch or "single jobs", each.owner or "", priorities, waiting, share]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
