"""Batches that have ended, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from windfall.batch import BatchStatus
from windfall.cli.screen.console import duration
from windfall.cli.screen.section import Column, Section

_COLUMNS: Final = (
    Column("BATCH"), Column("OWNER", drop=2), Column("STATE", drop=3), Column("ROWS", right=True),
    Column("FAILED", right=True), Column("TOOK", right=True, drop=4), Column("ENDED", right=True),
    Column("KEPT FOR", right=True, drop=1),
)  # fmt: skip


def finished_section(batches: Sequence[BatchStatus]) -> Section:
    """When each ended (ago), how long it took, what failed (cancelled and expired rows too), how long it is kept."""
    return Section(_COLUMNS, [_row(batch) for batch in batches])


def _row(batch: BatchStatus) -> list[str]:
    ended = batch.now if batch.finished_at is None else batch.finished_at
    failed = batch.finished - batch.completed
    kept = "ever" if batch.kept_until is None else duration(max(0.0, batch.kept_until - batch.now))
    return [
        batch.id, batch.owner or "", batch.state.value, f"{batch.total:,}", f"{failed:,}" if failed else "",
        duration(max(0.0, ended - batch.created_at)), f"{duration(max(0.0, batch.now - ended))} ago", kept,
    ]  # fmt: skip
