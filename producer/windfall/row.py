"""A row of an input file, as every format hands it on."""

from __future__ import annotations

from dataclasses import dataclass

from windfall.errors import InvalidRequest
from windfall.request import CompletionRequest


@dataclass(frozen=True, slots=True)
class InvalidRow:
    """A row that cannot become a job: it becomes a failed row of its batch, and the rest of the file runs.

    `line` counts from 1 and is the row's place in its file; `error` names it too, and the field where there is one.
    """

    custom_id: str | None
    line: int
    error: InvalidRequest


#: What a reader yields: a request for every good row, an `InvalidRow` for every other.
Row = CompletionRequest | InvalidRow
