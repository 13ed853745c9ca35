"""`windfall dead`: jobs that failed for good, with their requests."""

from __future__ import annotations

from typing import Annotated

import typer

from windfall.cli import options
from windfall.cli.screen.console import duration, note, say, say_json, say_table
from windfall.cli.session import producer, run_async
from windfall.errors import ConfigError
from windfall.producer import Producer
from windfall.queue.dead import DeadLetter

app = typer.Typer(
    help="Show dead letters (jobs that failed for good), retry them, or delete them.", no_args_is_help=True
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[JOB_ID]...", help="Which ones; or --all.")]
All = Annotated[bool, typer.Option("--all", help="Every dead letter.")]


@app.command("list")
def list_(redis: options.RedisUrl = None, config: options.Config = None, as_json: options.AsJson = False) -> None:
    """Show every dead letter: when and why it failed."""
    letters, now = run_async(_read(producer(redis, config)))
    if as_json:
        for letter in letters:
            say_json(letter.model_dump(mode="json", exclude_none=True))
        return
    if not letters:
        say("no dead letters")
        return
    say_table(
        ("JOB", "MODEL", "DIED", "ATTEMPTS", "ERROR", "MESSAGE"),
        [
            (
                letter.job_id,
                letter.request.model,
                f"{duration(max(0.0, now - letter.died_at))} ago",
                str(len(letter.result.attempts)),
                letter.result.error.type if letter.result.error else "",
                letter.result.error.message[:100] if letter.result.error else "",
            )
            for letter in letters
        ],
        right=("DIED", "ATTEMPTS"),
    )


@app.command()
def show(name: options.JobName, redis: options.RedisUrl = None, config: options.Config = None) -> None:
    """Print a dead letter as JSON: its request, its error and every attempt."""
    say_json(run_async(_show(producer(redis, config), name)).model_dump(mode="json", exclude_none=True))


@app.command()
def retry(ids: Ids = None, every: All = False, redis: options.RedisUrl = None, config: options.Config = None) -> None:
    """Retry dead letters; their earlier attempts stay in their ledger."""
    _name_some(ids, every=every)
    number = run_async(_retry(producer(redis, config), ids or [], every=every))
    say(f"{number:,} dead letters queued again")


@app.command()
def purge(ids: Ids = None, every: All = False, redis: options.RedisUrl = None, config: options.Config = None) -> None:
    """Delete dead letters: they can no longer be retried. Their results stay as long as results are kept."""
    _name_some(ids, every=every)
    number = run_async(_purge(producer(redis, config), None if every else ids))
    say(f"{number:,} dead letters deleted")
    if ids and number < len(ids):
        note(f"{len(ids) - number} of these ids are not dead letters")


def _name_some(ids: list[str] | None, *, every: bool) -> None:
    if bool(ids) == every:
        raise ConfigError("name the job ids of dead letters, or use --all for all of them")


async def _read(producer: Producer) -> tuple[list[DeadLetter], float]:
    async with producer:
        return [letter async for letter in producer.dead_letters()], (await producer.fleet()).now


async def _show(producer: Producer, name: str) -> DeadLetter:
    async with producer:
        return await producer.dead_letter(name)


async def _retry(producer: Producer, ids: list[str], *, every: bool) -> int:
    async with producer:
        names = [letter.job_id async for letter in producer.dead_letters()] if every else ids
        return sum([await producer.retry(name) for name in names])


async def _purge(producer: Producer, ids: list[str] | None) -> int:
    async with producer:
        return await producer.purge(ids)
