"""A row of an input file, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass

from windfall.errors import InvalidRequest
from windfall.request import CompletionRequest


@dataclass(frozen=True, slots=True)
class InvalidRow:
    """A row that cannot become a job: it becomes a failed row of its batch, and the rest of the file runs.

    `line` is the row's line in its file, from 1; `error` names it too, and the field if there is one.
    """

    custom_id: str | None
    line: int
    error: InvalidRequest


#: What a reader yields: a request for every valid row, an `InvalidRow` for every other.
Row = CompletionRequest | InvalidRow
