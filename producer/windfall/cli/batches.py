"""`windfall batches`: the unfinished batches, and those that ended."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer
from rich.console import Console

from windfall.batch import BatchStatus
from windfall.cli import options
from windfall.cli.screen.batch_facts import as_json as facts_of
from windfall.cli.screen.console import note, say, say_json
from windfall.cli.screen.finished import finished_section
from windfall.cli.screen.fleet_page import batch_section
from windfall.cli.session import producer, run_async
from windfall.errors import ConfigError
from windfall.producer import Producer

_LIMIT: Final = 50
_MOST: Final = 10_000


def batches(
    every: Annotated[
        bool,
        typer.Option("--all", help="Also show the batches that have ended, the last one first, while they are kept."),
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, max=_MOST, metavar="N", help=f"With --all: how many of them [{_LIMIT}].", show_default=False
        ),
    ] = None,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the unfinished batches with their progress, newest first."""
    if limit is not None and not every:
        raise ConfigError("--limit is for finished batches: it needs --all")
    most = (limit or _LIMIT) if every else 0
    unfinished, ended = run_async(_batches(producer(redis, config), most))
    if as_json:
        for batch in (*unfinished, *ended[:most]):
            say_json(facts_of(batch))
    else:
        _say(unfinished, ended[:most], every=every)
    if len(ended) > most:
        note(f"these are the {most:,} finished batches that ended last; --limit {min(_MOST, 10 * most)} shows more")


def _say(unfinished: list[BatchStatus], ended: list[BatchStatus], *, every: bool) -> None:
    if not unfinished:
        note("there are no unfinished batches" if ended or not every else "there are no batches")
    sections = ([batch_section(unfinished)] if unfinished else []) + ([finished_section(ended)] if ended else [])
    for number, section in enumerate(sections):
        if number:
            say()
        if sys.stdout.isatty():
            console = Console()
            console.print(section.fitted(console.width))
        else:
            section.say()


async def _batches(producer: Producer, most: int) -> tuple[list[BatchStatus], list[BatchStatus]]:
    """The unfinished ones, and one more than `most` of those that ended, to know whether there are more."""
    async with producer:
        return await producer.batches(), await producer.finished_batches(most + 1) if most else []
