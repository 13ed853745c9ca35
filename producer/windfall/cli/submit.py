"""`windfall submit`: put a file into the queue as a batch."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from windfall.batch import BatchOptions, BatchStatus
from windfall.cli import options, options_notice, options_table
from windfall.cli.files import Given, fingerprint, opened, refuse_same_file
from windfall.cli.follow import follow_batch
from windfall.cli.notices import Notices
from windfall.cli.reuse import fetch_rest, note_fetching, unanswered
from windfall.cli.screen.console import complain, note, say, say_json
from windfall.cli.screen.progress import RowProgress
from windfall.cli.session import Terminated, run_async, settings_told
from windfall.cli.spending import spending
from windfall.cli.tables import (
    TableFlags,
    TableJob,
    note_copies,
    refuse_table_flags,
    refuse_table_without_prompt,
    show_prompts,
    table_job,
)
from windfall.config.settings import Settings
from windfall.errors import BrokerError, ConfigError, InvalidRequest
from windfall.formats import OutputFile, Overrides
from windfall.formats.matching import key_of_line
from windfall.formats.output_file import by_job_id
from windfall.formats.reader import NO_MODEL
from windfall.formats.twins import Twins
from windfall.keys import checked_batch_id, checked_owner
from windfall.placement import cloud_only, lane_route
from windfall.producer import Producer
from windfall.queue.incoming import in_thread
from windfall.request import CompletionRequest, Route
from windfall.row import InvalidRow, Row
from windfall.telemetry.trace_export import exporting

_LOOKED_AT: Final = 10  # rows checked at the beginning of a file, before its batch is opened
_LANES_WATCHED: Final = 20  # models and routes checked for warnings; any more in the file are not


def submit(
    source: options.Input,
    model: options.Model = None,
    route: options.RouteOption = None,
    owner: options.Owner = None,
    priority: options.Priority = None,
    interactive: options.Interactive = False,
    deadline: options.Deadline = None,
    keep: options.Keep = None,
    batch_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The batch's id. Submitting the same file under the same id again adds only what is missing.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every row has its result.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="With --wait: write the results to this file as they arrive."
        ),
    ] = None,
    reuse: options_table.Reuse = False,
    prompt: options_table.Prompt = None,
    system: options_table.System = None,
    column: options_table.Column = "answer",
    choices: options_table.Choices = None,
    schema: options_table.SchemaFile = None,
    temperature: options_table.Temperature = 0,
    max_tokens: options_table.MaxTokens = None,
    where: options_table.Where = None,
    limit: options_table.Limit = None,
    dry_run: options_table.DryRun = False,
    kind: options_table.Kind = None,
    encoding: options_table.Encoding = "utf-8",
    notify: options_notice.Notify = False,
    webhook: options_notice.Webhook = None,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Enqueue the rows of a file, or a question about each row of a table, as one batch, and print the batch's id.

    With --prompt, --wait and -o OUT, IN is a table, and OUT becomes the same table with a column of answers.

    If it is stopped half-way, repeat the command to continue with the same batch. A row that cannot run becomes a
    failed row of the batch, with the reason; the others run. With --wait the exit code is 3 if any row failed. Rows
    that OUT already answers are recognised by their content and not submitted again, unless --batch-id names a batch.
    """
    notices = Notices(notify, webhook)
    if notices and not wait:
        raise ConfigError("--notify and --webhook need --wait; or watch the batch with windfall watch ID --notify")
    if output is not None and not wait:
        raise ConfigError("--output needs --wait; or write the results later with windfall results ID -o OUT")
    if output is not None:
        refuse_same_file(source, output)
    settings = settings_told(redis, config)
    job = None
    if prompt is None:
        refuse_table_without_prompt(source)
        refuse_table_flags(column=column, choices=choices, schema=schema, where=where, limit=limit, dry_run=dry_run)
    else:
        flags = TableFlags(
            prompt, system, column, choices, schema, temperature, max_tokens, where, limit, kind, encoding
        )
        body = _body_of_table(Overrides(model, route or settings.route, priority), batch_id)
        job = table_job(source, output, flags, body, settings.max_row_bytes)
        if dry_run:
            show_prompts(job)
            return
    answers = job.answers if job else output
    shared: list[object] = [word for word in (owner, "interactive" if interactive else None) if word]
    shared += job.identity if job else ()
    word = fingerprint(source, model, route or settings.route, priority, deadline, keep, *shared)
    overrides = Overrides(model, route, priority, settings.route)
    options_of_batch = BatchOptions(
        metadata={"input": source.name}, keep=keep, deadline=deadline, priority=priority or 0, interactive=interactive,
        owner=None if owner is None else checked_owner(owner),
    )  # fmt: skip
    terms = _Terms(checked_batch_id(batch_id) if batch_id else None, options_of_batch, word, answers)

    def producer() -> Producer:
        return Producer(settings.redis, limits=settings.limits)

    reuses = answers is not None and batch_id is None and answers.is_file()
    how = _How(wait, reuses, reuse, as_json, job is not None, notices)
    with exporting("windfall-producer"), _given(source, overrides, settings, job) as given:
        failed = _submit_all(producer, given, source, terms, how, overrides)
    if job is not None:
        failed = job.conclude(key_of_line).failed > 0
    if failed:
        raise typer.Exit(3)


def _body_of_table(overrides: Overrides, batch_id: str | None) -> dict[str, Any]:
    """What the requests of a table have in common."""
    if batch_id is not None:
        raise ConfigError("a table's answers are found by their content, so --batch-id does not go with --prompt")
    if overrides.model is None:
        raise ConfigError("name the model that answers with --model; nothing was submitted")
    return overrides.applied_to({})


@dataclass(frozen=True, slots=True)
class _How:
    """What else the flags say."""

    wait: bool
    reuses: bool  #: OUT exists, and what it answers is not asked again
    any_request: bool  #: equal requests run once, even if they are not deterministic
    as_json: bool
    table: bool  #: OUT has the answers of a table, and nothing else
    notices: Notices


@contextmanager
def _given(source: Path, overrides: Overrides, settings: Settings, job: TableJob | None) -> Iterator[Given]:
    if job is not None:
        yield job.rows
        return
    with opened(source, overrides, settings.max_row_bytes) as given:
        yield given


def _submit_all(
    producer: Callable[[], Producer], given: Given, source: Path, terms: _Terms, how: _How, overrides: Overrides
) -> bool:
    """Submit what OUT does not answer and, if that is wanted, wait for it; returns whether rows failed."""
    twins = None
    with given.kept() if how.reuses else nullcontext():
        rows, left = _rows(producer, given, source, terms, how)
        if terms.output is not None and given.rereadable:
            twins = Twins(key_of_line, any_request=how.any_request)
            rows = _without_twins(twins, rows, terms.output, reuses=how.reuses)
        failed = False
        if rows is not None:
            run_async(_say_spending(producer(), overrides, given, left))
            failed = _submit_rows(producer, rows, terms, how)
        if twins is not None and twins.copies and terms.output is not None:
            with OutputFile(terms.output, key_of_line) as out:
                copies = twins.copy(given.rows, out)
            note_copies(copies)
    return failed


def _without_twins(twins: Twins, rows: Iterator[Row] | None, output: Path, *, reuses: bool) -> Iterator[Row] | None:
    """The rows that have to run, or None if there are none."""
    if rows is None:
        return None
    if reuses:
        with OutputFile(output, key_of_line, lock=False) as out:
            twins.note_answered(out.lines())
    rows = twins.first_of_each(rows)
    first = next(rows, None)
    return None if first is None else itertools.chain([first], rows)


def _submit_rows(producer: Callable[[], Producer], rows: Iterator[Row], terms: _Terms, how: _How) -> bool:
    watched = _Watched(rows)
    name = run_async(_submit(producer(), watched, terms, as_json=how.as_json))
    if watched.invalid == watched.seen and not how.reuses:
        complain(f"none of the {watched.seen:,} rows can run; batch {name} holds only their errors")
        raise typer.Exit(3)
    if how.wait:
        return _wait(producer(), name, terms.output, how)
    note(f"see windfall watch {name}; get the results with windfall results {name} -o OUT")
    return False


def _rows(
    producer: Callable[[], Producer], given: Given, source: Path, terms: _Terms, how: _How
) -> tuple[Iterator[Row] | None, int | None]:
    """What is to be submitted, and how many rows that is where OUT has others; None where it has them all."""
    if how.reuses and terms.output is not None:
        run_async(fetch_rest(producer(), terms.output))
        missing = unanswered(given, terms.output, ours=how.table)
        if missing is not None:
            rows, left = missing
            first = next(rows, None)
            if first is None:
                note(f"all rows are in {terms.output}; nothing was submitted")
                return None, 0
            return itertools.chain([first], rows), left
    elif terms.output is not None:
        with OutputFile(terms.output, by_job_id, batch=terms.batch_id or ""):
            pass  # said now, and not when the batch is in the queue
    return _checked(given.rows(), source), None


def _checked(rows: Iterator[Row], source: Path) -> Iterator[Row]:
    """The same rows. Raises `InvalidRequest` if, judging by the beginning of the file, none would run."""
    first: list[Row] = []
    for row in rows:
        first.append(row)
        if not isinstance(row, InvalidRow) or len(first) == _LOOKED_AT:
            break
    wrong = [row.error for row in first if isinstance(row, InvalidRow)]
    if len(wrong) == len(first):
        if all(error.reason == NO_MODEL for error in wrong):
            raise InvalidRequest(f"the rows of {source} name no model, so nothing was submitted: name one with --model")
        if len(first) < _LOOKED_AT:
            counted = f"none of the {len(first)} rows" if len(first) > 1 else "the only row"
            can = "can" if len(first) > 1 else "cannot"
            raise InvalidRequest(f"{counted} of {source} {can} run, and nothing was submitted; the first: {wrong[0]}")
    return itertools.chain(first, rows)


def _wait(producer: Producer, name: str, output: Path | None, how: _How) -> bool:
    """Wait for the batch, and write its results; returns whether rows failed."""
    try:
        failed = run_async(follow_batch(producer, name, output, shared=how.reuses, notices=how.notices))
    except (KeyboardInterrupt, Terminated):
        note(
            f"batch {name} is still running; get the results with windfall results {name} --follow -o {output or 'OUT'}"
        )
        raise
    if output is not None:
        note_fetching(output, "")
    return failed > 0


@dataclass(frozen=True, slots=True)
class _Terms:
    """How to open the batch."""

    batch_id: str | None
    options: BatchOptions
    source: str
    output: Path | None  #: what the results are fetched into

    @property
    def remembered(self) -> bool:
        """Whether repeating the command finds the batch again."""
        return bool(self.batch_id or self.source)


class _Watched:
    """Rows being submitted, and facts about those seen so far."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self.lanes: set[tuple[str, Route]] = set()
        self.seen = 0
        self.invalid = 0
        self.for_cloud = 0  #: rows of route `auto` that no Mac can run
        self.first_for_cloud = ""
        self.first_error = ""

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.seen += 1
            if isinstance(row, InvalidRow):
                self.invalid += 1
                self.first_error = self.first_error or str(row.error)
            else:
                self._watch(row)
            yield row

    def _watch(self, row: CompletionRequest) -> None:
        if row.route is Route.AUTO and (found := cloud_only(row)):
            self.for_cloud += 1
            self.first_for_cloud = self.first_for_cloud or f"{row.custom_id}, field {found.field!r}: {found.why}"
        if len(self.lanes) < _LANES_WATCHED:
            self.lanes.add((row.model, lane_route(row)))


async def _say_spending(producer: Producer, overrides: Overrides, given: Given, left: int | None) -> None:
    """Say which rows may be paid for; at most `left` of each kind, where OUT has answers to others."""
    async with producer:
        fleet = await producer.fleet()

    def lanes(models: Collection[str]) -> Counter[tuple[str, Route]] | None:
        counts = given.lanes(models)
        return counts if counts is None or left is None else counts & Counter(dict.fromkeys(counts, left))

    for sentence in spending(fleet, overrides, lanes):
        note(sentence)


async def _submit(producer: Producer, rows: _Watched, terms: _Terms, *, as_json: bool) -> str:
    async with producer:
        batch = await producer.open_batch(batch_id=terms.batch_id, source=terms.source, **terms.options)
        if (owner := terms.options.get("owner")) and batch.owner != owner:
            note(f"batch {batch.id} was opened {_owned(batch.owner)}, and stays so: --owner {owner} is ignored")
        if terms.output is not None:
            note_fetching(terms.output, batch.id)
        batch = await _add(producer, batch, rows, terms)
        _announce(batch, as_json=as_json)
        if rows.invalid:
            note(f"{rows.invalid} of {rows.seen} rows cannot run; the first: {rows.first_error}")
        if rows.for_cloud:
            note(f"{rows.for_cloud} of {rows.seen} rows wait for the cloud alone; the first: {rows.first_for_cloud}")
        await _warn_of_waiting(producer, batch, rows.lanes)
        return batch.id


async def _add(producer: Producer, batch: BatchStatus, rows: _Watched, terms: _Terms) -> BatchStatus:
    if batch.sealed:
        note(f"batch {batch.id} already has {batch.total:,} rows: only rows after these are added")
    elif batch.total:
        note(f"continuing with batch {batch.id}, which has {batch.total:,} rows")
    sent = 0
    with RowProgress(f"submitting batch {batch.id}") as progress:

        def on_progress(done: int) -> None:
            nonlocal sent
            sent = done
            progress.update(done, None, rows.invalid)

        try:
            filled = await producer.enqueue_batch(in_thread(rows), batch_id=batch.id, on_progress=on_progress)
        except (asyncio.CancelledError, BrokerError):
            command = "repeat the command" if terms.remembered else f"repeat the command with --batch-id {batch.id}"
            note(f"stopped: {sent:,} rows are in batch {batch.id}; {command} to continue with the rest")
            raise
    if batch.total:
        new = filled.total - batch.total
        note(f"{rows.seen - new:,} rows were already in batch {batch.id} and keep their answers; {new:,} are new")
    return filled


async def _warn_of_waiting(producer: Producer, batch: BatchStatus, lanes: set[tuple[str, Route]]) -> None:
    """Warn about reasons for which rows may wait longer than expected."""
    fleet = await producer.fleet()
    if batch.paused:
        note(f"warning: batch {batch.id} is paused; to resume it: windfall resume batch {batch.id}")
    models = {model for model, _ in lanes}
    paused = [lane for lane in fleet.lanes if lane.paused and (lane.model, lane.route) in lanes]
    for model in sorted(models):
        if routes := [lane.route.value for lane in paused if lane.model == model]:
            note(
                f"warning: the lane of {model!r} is paused ({', '.join(routes)}); "
                f"to resume it: windfall resume lane {model}"
            )
    idle = sorted(model for model in models if not fleet.serves(model))
    if idle:
        served = sorted({model.name for worker in fleet.workers for model in worker.models})
        wanted = ", ".join(map(repr, idle))
        note(
            f"warning: no live worker serves {wanted}; the rows wait for one "
            f"({'served now: ' + ', '.join(served) if served else 'no worker is live: windfall worker --help'})"
        )


def _owned(owner: str | None) -> str:
    return f"for {owner}" if owner else "without an owner"


def _announce(batch: BatchStatus, *, as_json: bool) -> None:
    if as_json:
        say_json({"id": batch.id, "total": batch.total})
    else:
        say(batch.id)
