"""`windfall submit`: put a file into the queue as a batch."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from windfall.batch import BatchStatus
from windfall.cli import options
from windfall.cli.console import note, say, say_json
from windfall.cli.files import refuse_same_file, rows_of
from windfall.cli.follow import follow_batch
from windfall.cli.session import run_async
from windfall.errors import ConfigError, WindfallError
from windfall.formats import Overrides
from windfall.keys import checked_batch_id
from windfall.producer import Producer
from windfall.row import InvalidRow, Row
from windfall.settings import load_settings

_MODELS_WATCHED = 20  # a file of more models than this is not looked at for models that nobody serves


def submit(
    source: options.Input,
    model: options.Model = None,
    route: options.RouteOption = None,
    priority: options.Priority = None,
    deadline: options.Deadline = None,
    batch_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The batch's id. Submitting the same file under the same id again adds only what is missing.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until every row has its result.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT", help="With --wait: write the results there as they come."),
    ] = None,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Enqueue the rows of a file as one batch, and print the batch's id.

    A row that cannot run becomes a failed row of the batch that says why; the others run. With --wait the exit code is
    3 if any row failed.
    """
    if output is not None and not wait:
        raise ConfigError("--output needs --wait; or write the results later with windfall results ID -o OUT")
    if output is not None:
        refuse_same_file(source, output)
    name = checked_batch_id(batch_id or secrets.token_hex(6))
    settings = load_settings(redis=redis, config=config)
    overrides = Overrides(model, route, priority, deadline)
    with rows_of(source, overrides, settings.max_row_bytes) as rows:
        work = _submit(Producer(settings.redis), source, _Watched(rows), name, as_json=as_json)
        run_async(work)
    if wait and run_async(follow_batch(Producer(settings.redis), name, output)):
        raise typer.Exit(3)
    if not wait:
        note(f"see windfall watch {name}; get the results with windfall results {name} -o OUT")


class _Watched:
    """Rows on their way, and what was seen of them."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self.models: set[str] = set()
        self.invalid = 0
        self.first_error = ""

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            if isinstance(row, InvalidRow):
                self.invalid += 1
                self.first_error = self.first_error or str(row.error)
            elif len(self.models) < _MODELS_WATCHED:
                self.models.add(row.model)
            yield row


async def _submit(producer: Producer, source: Path, rows: _Watched, name: str, *, as_json: bool) -> None:
    async with producer:
        try:
            batch = await producer.enqueue_batch(rows, batch_id=name, metadata={"input": source.name})
        except (asyncio.CancelledError, WindfallError):
            note(f"batch {name} is not complete; add --batch-id {name} to the same command to go on")
            raise
        _announce(batch, as_json=as_json)
        if rows.invalid:
            note(f"{rows.invalid} of {batch.total} rows cannot run; the first: {rows.first_error}")
        fleet = await producer.fleet()
        idle = sorted(model for model in rows.models if not fleet.serves(model))
        if idle:
            served = sorted({model.name for worker in fleet.workers for model in worker.models})
            wanted = ", ".join(map(repr, idle))
            note(
                f"warning: no live worker serves {wanted}; the rows wait for one "
                f"({'served now: ' + ', '.join(served) if served else 'no worker is live: windfall worker --help'})"
            )


def _announce(batch: BatchStatus, *, as_json: bool) -> None:
    if as_json:
        say_json({"id": batch.id, "total": batch.total})
    else:
        say(batch.id)
