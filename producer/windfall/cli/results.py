"""`windfall results` and `windfall result`: fetch results."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from windfall.cli import options
from windfall.cli.follow import Wanted, outcomes, write_results
from windfall.cli.results_export import Layout, export
from windfall.cli.reuse import fetching
from windfall.cli.screen.console import complain, note, say, say_json
from windfall.cli.session import producer, run_async
from windfall.errors import InvalidRequest, NotFound
from windfall.formats import OutputFile
from windfall.formats.output_file import by_job_id
from windfall.formats.tables.results import is_results_table
from windfall.producer import Order, Producer
from windfall.result import CompletionResult


def results(
    batch_id: options.BatchName,
    output: options.Output = Path("-"),
    follow: Annotated[bool, typer.Option("--follow", help="Wait for the results still missing.")] = False,
    order: Annotated[
        Order,
        typer.Option(
            help="The order in which rows finish, or that of the input; the latter continues after OUT's last line."
        ),
    ] = "completion",
    after: Annotated[
        str,
        typer.Option(metavar="CURSOR", help="Start after this cursor, printed by an earlier call with the same order."),
    ] = "0",
    layout: Annotated[
        Layout, typer.Option("--format", help="OpenAI's or Anthropic's output lines; not for tables.")
    ] = Layout.OPENAI,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="With a file as OUT: print the number of rows written and the cursor as JSON."),
    ] = False,
) -> None:
    """Write the results of a batch, one JSON object per line; or a table, if OUT ends in .csv, .tsv, .parquet or .db.

    Rows already in OUT are not written again, so repeat the command after a lost connection; a file with rows of other
    batches and none of this one is rejected, and left as it is. In order of completion, rows that failed and were
    retried replace their old lines; in input order, lines are never removed, and without --follow writing stops before
    the first unfinished row. A table and Anthropic's lines are written anew as a whole; an SQLite database (.db) gets
    a table named after the batch.
    """
    wanted = Wanted(after, order, follow=follow)
    if layout is Layout.ANTHROPIC or is_results_table(output):
        run_async(export(producer(redis, config), batch_id, output, wanted, layout))
        return
    run_async(_results(producer(redis, config), batch_id, output, wanted, as_json=as_json))


async def _results(producer: Producer, batch_id: str, output: Path, wanted: Wanted, *, as_json: bool) -> None:
    async with producer:
        await producer.batch(batch_id)  # before the file is touched: raises if there is no such batch
        with OutputFile(
            output, by_job_id, again=wanted.replaces_failed, batch=batch_id, shared=fetching(output) == batch_id
        ) as out:
            cursor = await write_results(producer, batch_id, out, wanted)
            written = out.rows
        status = await producer.batch(batch_id)
    if as_json and str(output) != "-":
        say_json({"id": batch_id, "rows": written, "cursor": cursor, "done": status.done})
        return
    where = "stdout" if str(output) == "-" else str(output)
    note(f"{written:,} rows in {where}; the batch has {outcomes(status)}")
    if not status.done:
        note(f"for the missing ones: repeat the command with --follow, or with --after {cursor}")


def result(
    job_id: options.JobName,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for it if it is unfinished.")] = False,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Print the completion of a job; with --json everything about it, including attempts and times.

    The exit code is 1 if there is no result yet, and 3 if the job failed.
    """
    found = run_async(_result(producer(redis, config), job_id, wait=wait))
    if found is None:
        complain(f"job {job_id} has no result yet; wait for it with windfall result {job_id} --wait")
        raise typer.Exit(1)
    if as_json:
        say_json(found.model_dump(mode="json"))
    elif found.ok:
        _say_completion(found)
    if not found.ok:
        complain(
            f"job {job_id} {found.state.value}: {found.error.message if found.error else 'no reason was recorded'}"
        )
        raise typer.Exit(3)


async def _result(producer: Producer, job_id: str, *, wait: bool) -> CompletionResult | None:
    async with producer:
        try:
            return await (producer.wait(job_id) if wait else producer.result(job_id))
        except NotFound:
            with suppress(NotFound):
                rows = (await producer.batch(job_id)).last_row
                raise InvalidRequest(
                    f"{job_id} is a batch of {rows:,} rows, not a job: get its results with windfall results {job_id} "
                    f"-o OUT, or the result of row 1 with windfall result {job_id}:1"
                ) from None
            raise


def _say_completion(found: CompletionResult) -> None:
    completion = found.completion
    if completion is None:
        return
    if completion.content:
        say(completion.content)
    for call in completion.tool_calls:
        say(f"{call.function.name}({call.function.arguments})")
