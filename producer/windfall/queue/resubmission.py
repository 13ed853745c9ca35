"""What a batch has already of the rows that are submitted to it once more.

Row n of a batch is its job n. A file that was edited meanwhile has other rows there, and whoever reads the results
would get the answers to the old ones: so rows are compared with what is there, by their names and fingerprints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arq import ArqRedis

from windfall import keys
from windfall.errors import BatchDiffers, RequestRejected, WireError
from windfall.fingerprint import fingerprint
from windfall.result import CompletionResult
from windfall.row import InvalidRow, Row
from windfall.wire import decode_job, decode_result

#: A row's name and what tells it from others; None for a row that nobody can have an answer to.
_Identity = tuple[str | None, str | None] | None


@dataclass(slots=True)
class Resubmission:
    """Compares rows with the first `last_row` of a batch, and keeps count."""

    redis: ArqRedis
    batch_id: str
    last_row: int
    same: int = 0
    different: int = 0
    first_different: int = 0

    async def missing(self, first: int, rows: Sequence[Row]) -> list[tuple[int, Row]]:
        """Those of the rows from number `first` on that the batch lacks; the others are compared."""
        client: Any = self.redis
        names = [keys.job_id(self.batch_id, first + place) for place in range(len(rows))]
        # The payload is read first: a job that ends between the two is found by its result.
        payloads = await client.mget([keys.PAYLOAD + name for name in names])
        results = await client.mget([keys.RESULT + name for name in names])
        lacking = []
        for number, (row, payload, result) in enumerate(zip(rows, payloads, results, strict=True), first):
            if payload is None and result is None:
                lacking.append((number, row))
            elif _is(row, payload, result):
                self.same += 1
            else:
                self.different += 1
                self.first_different = self.first_different or number
        return lacking

    def check(self) -> None:
        """Raises `BatchDiffers` where a row was found to be another."""
        if self.different:
            raise BatchDiffers(
                f"batch {self.batch_id} was submitted from other rows: {self.same:,} of those that it has are the "
                f"same, {self.different:,} are not, row {self.first_different:,} is the first of them. The rows of a "
                "batch do not change, so nothing was added: submit these under another batch id, or none"
            )


def _is(row: Row, payload: bytes | None, result: bytes | None) -> bool:
    try:
        there = _of_job(payload) if payload is not None else _of_result(decode_result(result or b""))
    except WireError:
        return False  # of another version: whether it is the same cannot be told
    return there is None or there == _of_row(row)


def _of_row(row: Row) -> _Identity:
    return row.custom_id, str(row.error) if isinstance(row, InvalidRow) else fingerprint(row)


def _of_job(payload: bytes) -> _Identity:
    request = decode_job(payload).request
    return request.custom_id, fingerprint(request)


def _of_result(result: CompletionResult) -> _Identity:
    if result.fingerprint or result.ok:
        return result.custom_id, result.fingerprint
    if result.error is not None and result.error.type == RequestRejected.type:
        return result.custom_id, result.error.message
    return None  # it failed before anybody could read what it asks
