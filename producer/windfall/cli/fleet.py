"""`windfall fleet`: the workers, and the backlog."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Annotated, Final

import typer
from rich.console import Console

from windfall.cli import options
from windfall.cli.breaker import read_breakers
from windfall.cli.screen.batch_facts import Paces
from windfall.cli.screen.console import duration, note, say, say_json
from windfall.cli.screen.fleet_page import FleetView, page, sections
from windfall.cli.screen.live_page import LivePage
from windfall.cli.session import producer, run_async
from windfall.errors import BrokerDenied, BrokerUnavailable
from windfall.producer import Producer
from windfall.queue.fleet import FleetStatus

_PERIOD: Final = 2.0  # seconds between two looks


def fleet(
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh every 2 seconds, as a full-screen page in a terminal.")
    ] = False,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the workers with their models, the lanes with their backlog and who shares them, the unfinished batches, and
    the breakers.

    --watch runs until q or Ctrl-C; with --json it prints one object per line.
    """
    run_async(_fleet(producer(redis, config), watch=watch, as_json=as_json))


async def _fleet(producer: Producer, *, watch: bool, as_json: bool) -> None:
    async with producer:
        window = _Window(producer)
        if watch and not as_json and _fills_a_terminal():
            await window.look()
            live = LivePage(lambda width, height: page(window.seen(), width, height))
            await live.show(window.keep_looking(live.redraw))
            return
        say_view = _say_json if as_json else _say
        await window.look()
        say_view(window.view)
        if watch:
            await window.keep_looking(lambda: say_view(window.view), note)


def _fills_a_terminal() -> bool:
    """Whether stdout is a terminal with cursor control: an editor's may only support plain lines."""
    return sys.stdout.isatty() and not Console().is_dumb_terminal


class _Window:
    """Reads the fleet, and keeps the last view."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._paces = Paces()
        self._away: tuple[float, str] | None = None
        self.view = FleetView(FleetStatus(now=0.0))

    async def look(self) -> None:
        """Look once. Raises the producer's exceptions."""
        fleet = await self._producer.fleet()
        batches = await self._producer.batches()
        try:
            breakers, cooldowns, parked = await read_breakers(self._producer.redis)
        except BrokerDenied:
            breakers, cooldowns, parked = [], {}, []  # a producer-only user may not read them
        self._paces.note(*batches)
        paces = {batch.id: pace for batch in batches if (pace := self._paces.of(batch)) is not None}
        tried = {each.name: each.probe_in for each in parked}
        sharers = await self._producer.sharers(fleet)
        self.view = FleetView(fleet, batches, breakers, cooldowns, paces, parked=tried, sharers=sharers)
        self._away = None

    async def keep_looking(self, on_look: Callable[[], None], on_away: Callable[[str], None] | None = None) -> None:
        """Look until cancelled. Outages are waited out; `on_away` is told the reason, once."""
        while True:
            await asyncio.sleep(_PERIOD)
            try:
                await self.look()
            except BrokerUnavailable as exc:
                if self._away is None and on_away:
                    on_away(str(exc))
                self._away = self._away or (time.monotonic(), str(exc))
            else:
                on_look()

    def seen(self) -> FleetView:
        """The last view, marked with how long ago it was taken."""
        if self._away is None:
            return self.view
        since, why = self._away
        return self.view.missing(f"not updated for {duration(time.monotonic() - since)}; last known state below: {why}")


def _say_json(view: FleetView) -> None:
    say_json(view.as_json())


def _say(view: FleetView) -> None:
    if sys.stdout.isatty():
        console = Console()
        console.print(page(view, console.width, keys=""))
        return
    if not view.fleet.workers:
        say("no worker is live; start one with windfall worker --model NAME=PATH")
    for number, section in enumerate(sections(view)):
        if number or not view.fleet.workers:
            say()
        section.say()
