"""`windfall fleet`: who works, and what waits."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from windfall.cli import options
from windfall.cli.console import duration, say, say_json, say_table
from windfall.cli.session import producer, run_async
from windfall.fleet import FleetStatus
from windfall.producer import Producer

_PERIOD = 2.0  # seconds between two looks


def fleet(
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 2 seconds, until Ctrl-C.")] = False,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the live workers with their models, and the lanes with their backlog."""
    run_async(_fleet(producer(redis, config), watch=watch, as_json=as_json))


async def _fleet(producer: Producer, *, watch: bool, as_json: bool) -> None:
    async with producer:
        while True:
            found = await producer.fleet()
            say_json(found.model_dump(mode="json")) if as_json else _say_fleet(found)
            if not watch:
                return
            await asyncio.sleep(_PERIOD)


def _say_fleet(found: FleetStatus) -> None:
    if not found.workers:
        say("no worker is live; start one with windfall worker --model NAME=PATH")
    else:
        say_table(
            ("WORKER", "STATE", "MODEL", "BACKEND", "RUNNING", "SLOTS", "TOKENS/S", "DONE", "UP"),
            [
                (
                    worker.id,
                    worker.state,
                    model.name,
                    "+".join(model.backends),
                    str(model.running),
                    str(model.slots),
                    "" if model.tokens_per_second is None else f"{model.tokens_per_second:.0f}",
                    str(worker.completed),
                    duration(found.now - worker.started_at),
                )
                for worker in found.workers
                for model in worker.models
            ],
            right=("RUNNING", "SLOTS", "TOKENS/S", "DONE", "UP"),
        )
    waiting = [lane for lane in found.lanes if lane.queued or lane.running]
    if waiting:
        say()
        say_table(
            ("LANE", "ROUTE", "QUEUED", "RUNNING"),
            [(lane.model, lane.route.value, str(lane.queued), str(lane.running)) for lane in waiting],
            right=("QUEUED", "RUNNING"),
        )
