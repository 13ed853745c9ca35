"""Which of the submitted rows a batch already has.

Row n of a batch is its job n. If the file was edited in between, the results would be answers to the old rows. So rows
are compared with those in the batch, by their names and fingerprints.
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

#: A row's name and what identifies its content; None for a row that cannot have an answer.
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
        """The rows, counted from number `first`, that the batch lacks; the others are compared."""
        client: Any = self.redis
        names = [keys.job_id(self.batch_id, first + place) for place in range(len(rows))]
        # The payload is read first: a job that ends between the two reads is found by its result.
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
        """Raises `BatchDiffers` if a row was found to differ."""
        if self.different:
            raise BatchDiffers(
                f"batch {self.batch_id} was submitted with different rows: {self.same:,} of its rows are the same, "
                f"{self.different:,} are not, the first being row {self.first_different:,}. The rows of a batch "
                "cannot change, so nothing was added: submit these under another batch id, or without one"
            )


def _is(row: Row, payload: bytes | None, result: bytes | None) -> bool:
    try:
        there = _of_job(payload) if payload is not None else _of_result(decode_result(result or b""))
    except WireError:
        return False  # written by another version: they cannot be compared
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
    return None  # it failed before its request could be read
