"""What OUT answers already of the rows that `submit --wait -o OUT` is given: only the rest is submitted.

Which batch is being fetched into OUT stands beside it, in `.OUT.batch`, until all of it is there: a command that was
stopped meanwhile, and is typed again, fetches that batch first, and does not submit its rows, and pay for them, anew.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from windfall.cli.files import Given
from windfall.cli.follow import write_all
from windfall.cli.screen.console import note
from windfall.config.private import create_private
from windfall.errors import ConfigError, NotFound
from windfall.formats import OutputFile
from windfall.formats.matching import Matched, key_of_line, key_of_row, match
from windfall.formats.output_file import by_job_id
from windfall.keys import checked_batch_id
from windfall.producer import Producer
from windfall.row import Row

_LONGEST = 1024  # bytes of a batch id


def fetching(output: Path) -> str:
    """The batch that is being fetched into OUT, or nothing."""
    try:
        descriptor = os.open(_marker(output), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return ""  # somebody else left it there
        with suppress(ValueError, ConfigError):
            return checked_batch_id(file.read(_LONGEST).decode())
    return ""


def note_fetching(output: Path, batch_id: str) -> None:
    """From now on this batch is being fetched into OUT; nothing = no more."""
    if output.exists() and not output.is_file():
        return  # a device or a pipe remembers nothing
    try:
        _marker(output).unlink(missing_ok=True)
        if batch_id:
            create_private(_marker(output), batch_id)
    except OSError as exc:
        raise ConfigError(f"cannot write {_marker(output)}: {exc.strerror}") from exc


async def fetch_rest(producer: Producer, output: Path) -> None:
    """Fetch what a command that was stopped did not: of the batch that was submitted as a whole."""
    batch_id = fetching(output)
    if not batch_id:
        return
    async with producer:
        try:
            if not (await producer.batch(batch_id)).sealed:
                return  # its submission goes on
            note(f"fetching the rest of batch {batch_id} into {output} first")
            await write_all(producer, batch_id, output, shared=True)
        except NotFound:
            pass
    note_fetching(output, "")


def unanswered(given: Given, output: Path, *, ours: bool) -> tuple[Iterator[Row], int] | None:
    """The rows that OUT has no answer to, after its lines were put under the names of their rows; None = all of them.

    The number is how many there are. Raises `ConfigError` where OUT holds rows of a batch, and none that answers any of
    these, unless it is known to be `ours`.
    """
    with OutputFile(output, key_of_line) as out:
        if not out.rows:
            return None
        found = match(out.lines, given.rows, key_of_line)
        if not found.reused and not ours:
            with OutputFile(output, by_job_id, batch="", lock=False):
                return None
        if found.names or found.replaced:
            out.rewrite(found.applied_to)
        _tell(found, given, out)
        # What is in it is remembered although it is closed.
        return (row for row in given.rows() if not out.has(key_of_row(row))), found.changed + found.new


def _tell(found: Matched, given: Given, out: OutputFile) -> None:
    failed = f", {out.failed:,} of them failed" if out.failed else ""
    note(f"{found.reused:,} rows are already in {out.name}{failed}; {found.changed:,} changed, {found.new:,} new")
    if found.replaced:
        note(
            f"{len(found.replaced):,} answers to what {given.name} asks no longer were moved from {out.name} "
            f"to {out.replaced_path}"
        )


def _marker(output: Path) -> Path:
    return output.with_name(f".{output.name}.batch")
