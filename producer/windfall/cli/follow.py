"""Following a batch to its end: for `submit --wait`, `results` and `watch`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from windfall.batch import BatchStatus
from windfall.cli.notices import NOBODY, Notices, told_of_stalls
from windfall.cli.screen.console import duration, note
from windfall.cli.screen.progress import RowProgress
from windfall.formats import OutputFile
from windfall.formats.output_file import by_job_id
from windfall.keys import job_id
from windfall.producer import Order, Producer


async def follow_batch(
    producer: Producer, batch_id: str, output: Path | None, *, shared: bool = False, notices: Notices = NOBODY
) -> int:
    """Wait for every row, writing the results to `output` as they come; returns how many rows did not complete.

    A file may be `shared` with answers of other batches.
    """
    async with producer:
        await producer.batch(batch_id)  # before the file is touched: raises if there is no such batch
        async with told_of_stalls(producer, batch_id, notices):
            if output is None:
                await _watch(producer, batch_id)
            else:
                await write_all(producer, batch_id, output, shared=shared)
        status = await producer.batch(batch_id)
    notices.batch_ended(status)
    return conclude(status, output)


async def write_all(producer: Producer, batch_id: str, output: Path, *, shared: bool) -> None:
    """Wait for every row and write the results to the file; rows of the batch that failed are fetched again."""
    with OutputFile(output, by_job_id, again=True, batch=batch_id, shared=shared) as out:
        await write_results(producer, batch_id, out, Wanted())


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which results, in which order; `follow` waits for those still missing."""

    after: str = "0"
    order: Order = "completion"
    follow: bool = True

    @property
    def replaces_failed(self) -> bool:
        """Whether failed rows are fetched again: after a cursor they would be lost, in input order misplaced."""
        return self.after == "0" and self.order == "completion"


async def write_results(producer: Producer, batch_id: str, out: OutputFile, wanted: Wanted) -> str:
    """Write the results that the file lacks; returns the cursor after the last one."""
    cursor = wanted.after
    if wanted.order == "input":
        cursor = str(_behind_what_is_there(out, batch_id, int(cursor) if cursor.isdecimal() else 0))
    with RowProgress(f"batch {batch_id}", done=out.rows, beside_stdout=out.name == "stdout") as progress:
        total = (await producer.batch(batch_id)).total
        found = producer.results_with_cursor(batch_id, after=cursor, follow=wanted.follow, order=wanted.order)
        async for cursor, result in found:  # noqa: B007 - the last one is returned
            if out.lacks(result):
                out.write([result])
                progress.update(out.rows, total, out.failed)
    return cursor


def _behind_what_is_there(out: OutputFile, batch_id: str, row: int) -> int:
    """The last row before the first gap in the file."""
    while out.has(job_id(batch_id, row + 1)):
        row += 1
    return row


def conclude(status: BatchStatus, output: Path | None) -> int:
    """Summarize a finished batch; returns how many rows did not complete."""
    unsuccessful = status.finished - status.completed
    took = duration((status.finished_at or status.now) - status.created_at)
    where = f" in {output}" if output is not None and str(output) != "-" else ""
    note(f"batch {status.id}: {outcomes(status)}{where}; {took}")
    return unsuccessful


def outcomes(status: BatchStatus) -> str:
    """The non-zero counts, in words."""
    names = ("queued", "running", "completed", "failed", "cancelled", "expired")
    counts = [f"{getattr(status, name):,} {name}" for name in names if getattr(status, name)]
    return f"{status.total:,} row{'' if status.total == 1 else 's'}: {', '.join(counts) or 'none'}"


async def _watch(producer: Producer, batch_id: str) -> None:
    with RowProgress(f"batch {batch_id}") as progress:
        total = (await producer.batch(batch_id)).total
        done = failed = 0
        async for result in producer.results(batch_id):
            done += 1
            failed += not result.ok
            progress.update(done, total, failed)
