"""`windfall cancel`, `windfall retry` and `windfall delete`."""

from __future__ import annotations

from typing import Annotated

import typer

from windfall.cli import options
from windfall.cli.screen.console import say, say_json
from windfall.cli.session import producer, run_async
from windfall.producer import Producer


def cancel(
    name: options.AnyName,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Cancel a job, or the unfinished jobs of a batch. A running job is stopped by its worker."""
    number = run_async(_cancel(producer(redis, config), name))
    if as_json:
        say_json({"id": name, "cancelled": number})
    else:
        say(f"{_jobs(number)} cancelled" if number else "there was nothing left to cancel")


def retry(
    name: options.AnyName,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Retry a failed job, or the failed jobs of a batch."""
    number = run_async(_retry(producer(redis, config), name))
    if as_json:
        say_json({"id": name, "queued": number})
    else:
        say(f"{_jobs(number)} queued again" if number else "there was nothing to retry")


def delete(
    batch_id: options.BatchName,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Delete it even if it is unfinished; running jobs are stopped.")
    ] = False,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Delete a batch and everything in it: rows, results, dead letters. This cannot be undone."""
    run_async(_delete(producer(redis, config), batch_id, cancel=cancel))
    if as_json:
        say_json({"id": batch_id, "deleted": True})
    else:
        say(f"batch {batch_id} deleted")


async def _cancel(producer: Producer, name: str) -> int:
    async with producer:
        return await producer.cancel(name)


async def _retry(producer: Producer, name: str) -> int:
    async with producer:
        return await producer.retry(name)


async def _delete(producer: Producer, batch_id: str, *, cancel: bool) -> None:
    async with producer:
        await producer.delete(batch_id, cancel=cancel)


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number:,} jobs"
