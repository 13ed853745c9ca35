"""`windfall fleet`: who works, and what waits."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from windfall.cli import options
from windfall.cli.breaker import read_breakers, say_breakers
from windfall.cli.console import duration, say, say_json, say_table
from windfall.cli.session import producer, run_async
from windfall.errors import BrokerDenied
from windfall.fleet import FleetStatus
from windfall.producer import Producer

_PERIOD = 2.0  # seconds between two looks


def fleet(
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 2 seconds, until Ctrl-C.")] = False,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the live workers with their models, the lanes with their backlog, and the breakers of the cloud."""
    run_async(_fleet(producer(redis, config), watch=watch, as_json=as_json))


async def _fleet(producer: Producer, *, watch: bool, as_json: bool) -> None:
    async with producer:
        while True:
            found = await producer.fleet()
            try:
                breakers, cooldowns = await read_breakers(producer.redis)
            except BrokerDenied:
                breakers, cooldowns = [], {}  # a user for producers alone does not see them
            if as_json:
                named = [asdict(breaker) for breaker in breakers]
                say_json(found.model_dump(mode="json") | {"breakers": named, "cooldowns": cooldowns})
            else:
                _say_fleet(found)
                if breakers:
                    say()
                say_breakers(breakers, cooldowns)
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
