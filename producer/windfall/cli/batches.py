"""`windfall batches`: the unfinished batches."""

from __future__ import annotations

import sys

from rich.console import Console

from windfall.batch import BatchStatus
from windfall.cli import options
from windfall.cli.screen.batch_facts import as_json as facts_of
from windfall.cli.screen.console import note, say_json
from windfall.cli.screen.fleet_page import batch_section
from windfall.cli.session import producer, run_async
from windfall.producer import Producer


def batches(redis: options.RedisUrl = None, config: options.Config = None, as_json: options.AsJson = False) -> None:
    """Show the unfinished batches with their progress, newest first."""
    found = run_async(_batches(producer(redis, config)))
    if as_json:
        for batch in found:
            say_json(facts_of(batch))
    elif not found:
        note("there are no unfinished batches")
    elif sys.stdout.isatty():
        console = Console()
        console.print(batch_section(found).fitted(console.width))
    else:
        batch_section(found).say()


async def _batches(producer: Producer) -> list[BatchStatus]:
    async with producer:
        return await producer.batches()
