"""`windfall results` into a table, or as Anthropic's output lines: written anew as a whole."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from windfall.cli.follow import Wanted, outcomes
from windfall.cli.screen.console import note
from windfall.errors import ConfigError
from windfall.formats.anthropic_output import anthropic_line
from windfall.formats.tables.results import is_results_table, write_results_table
from windfall.formats.tables.writing import appearing
from windfall.producer import Producer
from windfall.wire import decode_result, encode_result


class Layout(StrEnum):
    """Whose output lines."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


async def export(producer: Producer, batch_id: str, output: Path, wanted: Wanted, layout: Layout) -> None:
    """Write a table, or Anthropic's lines."""
    if layout is Layout.ANTHROPIC and str(output) != "-" and is_results_table(output):
        raise ConfigError("--format is for output lines; a table has columns of its own")
    if wanted.after != "0":
        raise ConfigError("--after is for output lines; this file is written anew as a whole")
    async with producer:
        await producer.batch(batch_id)
        with tempfile.TemporaryFile() as spool:  # a table is written by a thread that cannot wait for Redis
            async for result in producer.results(batch_id, follow=wanted.follow, order=wanted.order):
                spool.write(encode_result(result, "") + b"\n")
            spool.seek(0)
            found = (decode_result(line) for line in spool)
            if layout is Layout.OPENAI:
                count = write_results_table(found, output, batch_id)
            else:
                count = _write_lines(map(anthropic_line, found), output)
        status = await producer.batch(batch_id)
    note(f"{count:,} rows in {'stdout' if str(output) == '-' else output}; the batch has {outcomes(status)}")


def _write_lines(lines: Iterable[bytes], output: Path) -> int:
    if str(output) == "-":
        written = sum(1 for line in lines if sys.stdout.buffer.write(line))
        sys.stdout.buffer.flush()
        return written
    with appearing(output) as path, path.open("wb") as file:
        return sum(1 for line in lines if file.write(line))
