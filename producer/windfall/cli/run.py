"""`windfall run`: a file of requests in, a file of results out, with nothing else to set up."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from windfall.cli import options, options_table
from windfall.cli.files import Given, opened, refuse_same_file
from windfall.cli.local import Tally, run_rows
from windfall.cli.models import model_for_run, require_worker
from windfall.cli.screen.console import duration, note
from windfall.cli.screen.progress import RowProgress
from windfall.cli.session import Terminated, run_async
from windfall.cli.tables import (
    TableFlags,
    TableJob,
    note_copies,
    refuse_table_flags,
    refuse_table_without_prompt,
    show_prompts,
    table_job,
)
from windfall.config.settings import Settings, load_settings
from windfall.formats import OutputFile, Overrides
from windfall.formats.matching import Key, key_of_line, key_of_real_line, key_of_row, match
from windfall.formats.twins import Twins
from windfall.request import Route
from windfall.row import Row
from windfall.runtime.event_loop import new_event_loop
from windfall.telemetry.trace_export import exporting

if TYPE_CHECKING:
    from windfall_worker.settings import ModelSettings


def run(
    source: options.Input,
    output: options.Output,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="A folder, a Hugging Face repository, a name in windfall.toml, or demo. "
            "Every row runs on it on this machine, whatever model or route the row names.",
        ),
    ],
    slots: Annotated[
        int | None, typer.Option(min=1, max=4096, help="How many rows run at once [32].", show_default=False)
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Retry the rows that failed in OUT.")] = False,
    simulate: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Answer after SECONDS without a model, for capacity tests."),
    ] = None,
    reuse: options_table.Reuse = False,
    fresh: options_table.Fresh = False,
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
    config: options.Config = None,
) -> None:
    """Run a file of requests, or a question about each row of a table, on a model on this machine.

    The results are written to OUT as they arrive. With --prompt, IN is a table, and OUT becomes the same table with a
    column of answers; these are kept in OUT.answers.jsonl as they arrive.

    It starts and stops everything it needs (a Redis, a worker, the model). Run again after a kill, or on a file that
    has grown, it continues with the rows that OUT lacks. The exit code is 0 if every row in OUT completed, and 3 if
    some failed.
    """
    require_worker()
    refuse_same_file(source, output)
    settings = load_settings(config=config)
    served = model_for_run(model, simulate, slots, settings)
    how = How(retry_failed=retry_failed, reuse=reuse, fresh=fresh)
    if prompt is None:
        refuse_table_without_prompt(source)
        refuse_table_flags(column=column, choices=choices, schema=schema, where=where, limit=limit, dry_run=dry_run)
        failed = run_file(source, output, served, settings, how).failed
    else:
        flags = TableFlags(
            prompt, system, column, choices, schema, temperature, max_tokens, where, limit, kind, encoding
        )
        body = {"model": served.name, "route": Route.LOCAL}
        job = table_job(source, output, flags, body, settings.max_row_bytes)
        if dry_run:
            return show_prompts(job)
        failed = run_table(job, served, how)
    if failed:
        raise typer.Exit(3)
    return None


@dataclass(frozen=True, slots=True)
class How:
    """How a run treats what OUT holds already, and equal requests."""

    retry_failed: bool = False
    reuse: bool = False  #: equal requests run once, even if they are not deterministic
    fresh: bool = False  #: nothing of OUT is reused


@dataclass(frozen=True, slots=True)
class Outcome:
    """What OUT holds after a run."""

    failed: int  #: rows of OUT that are errors
    tally: Tally  #: of the rows that this run added


def run_file(source: Path, output: Path, served: ModelSettings, settings: Settings, how: How = How()) -> Outcome:
    """Run the rows of a JSONL file that OUT lacks, and summarize the outcome."""
    overrides = Overrides(model=served.name, route=Route.LOCAL)
    with (
        opened(source, overrides, settings.max_row_bytes) as given,
        given.kept() if output.is_file() else nullcontext(),
    ):
        return run_given(given, output, served, how)


def run_table(job: TableJob, served: ModelSettings, how: How) -> int:
    """Ask about the rows of a table that have no answer yet, and write it; returns how many rows failed."""
    key = _key(served)
    try:
        run_given(job.rows, job.answers, served, replace(how, retry_failed=True))
    finally:
        if job.answers.exists():
            filled = job.conclude(key)
    return filled.failed


def run_given(given: Given, output: Path, served: ModelSettings, how: How) -> Outcome:
    """Run the rows that OUT lacks."""
    key = _key(served)
    rows = given.rows()  # before OUT is created: a file without rows is rejected
    with OutputFile(output, key, again=how.retry_failed) as out:
        if how.fresh and out.rows:
            out.rewrite(lambda _: None)
            note(f"the answers so far were moved to {out.replaced_path}")
        if out.rows:
            _match(given, out, key)
            rows = given.rows()
        missing = (row for row in rows if not out.has(key_of_row(row)))
        if not given.rereadable:
            return _run_missing(_peeked(missing), out, served, given.name)
        twins = Twins(key, any_request=how.reuse)
        twins.note_answered(out.lines())
        return _run_missing(
            _peeked(twins.first_of_each(missing)), out, served, given.name, lambda: _copy(twins, given, out)
        )


def _key(served: ModelSettings) -> Key:
    """Simulated answers are no answers, except to another simulation."""
    return key_of_real_line if served.simulate is None else key_of_line


def _copy(twins: Twins, given: Given, out: OutputFile) -> None:
    if twins.copies:
        copies = twins.copy(given.rows, out)
        note_copies(copies)


def _run_missing(
    missing: Iterator[Row] | None,
    out: OutputFile,
    served: ModelSettings,
    what: str,
    afterwards: Callable[[], None] = lambda: None,
) -> Outcome:
    if missing is None:
        afterwards()
        note(f"all {out.rows:,} rows are already in {out.name}{_failures(out)}")
        return Outcome(out.failed, Tally())
    try:
        beside = out.name == "stdout"
        with (
            exporting("windfall"),
            RowProgress(f"loading {served.name}", done=out.rows, beside_stdout=beside) as progress,
        ):
            tally = run_async(run_rows(missing, out, served, what, progress), loop_factory=new_event_loop)
    except (KeyboardInterrupt, Terminated):
        note(f"stopped: {out.rows:,} rows are in {out.name}; repeat the command to continue with the rest")
        raise
    afterwards()
    note(_summary(out, tally))
    return Outcome(out.failed, tally)


def _match(given: Given, out: OutputFile, key: Key) -> None:
    """Rename existing answers after their rows, and move those of other rows out of the way."""
    found = match(out.lines, given.rows, key)
    if found.names or found.replaced:
        out.rewrite(found.applied_to)
    if found.changed or found.new:
        note(
            f"{found.reused:,} rows are already in {out.name}; continuing with the rest: "
            f"{found.changed:,} changed, {found.new:,} new"
        )
    if found.replaced:
        note(
            f"{len(found.replaced):,} answers to rows no longer in {given.name} were moved from {out.name} "
            f"to {out.replaced_path}"
        )
    if found.unknown:
        note(
            f"{found.unknown:,} of them were simulated or written by an earlier version of windfall, and do not name "
            "their requests: their rows run again"
        )
    if found.strays:
        note(f"{found.strays:,} rows of {out.name} are not in {given.name}; they stay unchanged")


def _peeked(rows: Iterator[Row]) -> Iterator[Row] | None:
    """The same rows, or None if there is none."""
    first = next(rows, None)
    return None if first is None else itertools.chain([first], rows)


def _summary(out: OutputFile, tally: Tally) -> str:
    done = tally.completed + tally.failed
    rates = f"{done / tally.seconds:,.1f} rows/s, {tally.tokens_per_second:,.0f} tokens/s"
    return f"{out.rows:,} rows are in {out.name}{_failures(out)}; {done:,} took {duration(tally.seconds)}: {rates}"


def _failures(out: OutputFile) -> str:
    return f", {out.failed:,} of them failed (see their error; --retry-failed retries them)" if out.failed else ""
