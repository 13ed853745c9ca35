"""`windfall run`: a file of requests in, a file of results out, with nothing else to set up."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from windfall.cli import options
from windfall.cli.files import InputFile, opened, refuse_same_file
from windfall.cli.local import Tally, run_rows
from windfall.cli.models import model_for_run, require_worker
from windfall.cli.screen.console import duration, note
from windfall.cli.session import Terminated, run_async
from windfall.config.settings import Settings, load_settings
from windfall.formats import OutputFile, Overrides
from windfall.formats.matching import Key, key_of_line, key_of_real_line, key_of_row, match
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
    config: options.Config = None,
) -> None:
    """Run a file of requests on a model on this machine, and write the results to OUT as they arrive.

    It starts and stops everything it needs (a Redis, a worker, the model). Run again after a kill, or on a file that
    has grown, it continues with the rows that OUT lacks. The exit code is 0 if every row in OUT completed, and 3 if
    some failed.
    """
    require_worker()
    refuse_same_file(source, output)
    settings = load_settings(config=config)
    served = model_for_run(model, simulate, slots, settings)
    outcome = run_file(source, output, served, settings, retry_failed=retry_failed)
    if outcome.failed:
        raise typer.Exit(3)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What OUT holds after a run."""

    failed: int  #: rows of OUT that are errors
    tally: Tally  #: of the rows that this run added


def run_file(
    source: Path, output: Path, served: ModelSettings, settings: Settings, *, retry_failed: bool = False
) -> Outcome:
    """Run the rows that OUT lacks, and summarize the outcome."""
    overrides = Overrides(model=served.name, route=Route.LOCAL)
    key = key_of_real_line if served.simulate is None else key_of_line
    with (
        opened(source, overrides, settings.max_row_bytes) as given,
        given.kept() if output.is_file() else nullcontext(),
    ):
        rows = given.rows()  # before OUT is created: a file without rows is rejected
        with OutputFile(output, key, again=retry_failed) as out:
            if out.rows:
                _match(given, out, key)
                rows = given.rows()
            missing = _peeked(row for row in rows if not out.has(key_of_row(row)))
            return _run_missing(missing, out, served, source.name)


def _run_missing(missing: Iterator[Row] | None, out: OutputFile, served: ModelSettings, what: str) -> Outcome:
    if missing is None:
        note(f"all {out.rows:,} rows are already in {out.name}{_failures(out)}")
        return Outcome(out.failed, Tally())
    try:
        with exporting("windfall"):
            tally = run_async(run_rows(missing, out, served, what), loop_factory=new_event_loop)
    except (KeyboardInterrupt, Terminated):
        note(f"stopped: {out.rows:,} rows are in {out.name}; repeat the command to continue with the rest")
        raise
    note(_summary(out, tally))
    return Outcome(out.failed, tally)


def _match(given: InputFile, out: OutputFile, key: Key) -> None:
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
