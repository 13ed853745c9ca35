"""`windfall pause`, `windfall resume` and `windfall drain`: controlling lanes, batches and workers remotely."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import typer

from windfall.cli import options
from windfall.cli.screen.console import note, say, say_json
from windfall.cli.session import producer, run_async
from windfall.errors import BrokerUnavailable, ConfigError
from windfall.producer import Producer
from windfall.queue.pausing import Pausable
from windfall.queue.workers import worker_name
from windfall.request import Route

_PERIOD: Final = 0.5  # seconds between two checks of which workers are still live

What = Annotated[
    Pausable,
    typer.Argument(metavar="lane|batch|worker", help="What to act on.", show_default=False),
]
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A lane's model, a batch's id, or a worker's id or name.",
        show_default=False,
    ),
]
LaneRoute = Annotated[
    Route | None, typer.Option("--route", help="Only this route of the lane [all].", show_default=False)
]


def pause(
    what: What,
    name: Name,
    route: LaneRoute = None,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Start no new jobs of a lane or a batch, or on a worker, until it is resumed. Running jobs continue.

    A worker paused by its name stays paused when it is restarted; its id means this one process.
    """
    changed = run_async(_pause(producer(redis, config), what, name, _checked(what, route)))
    if as_json:
        say_json({"what": what.value, "name": name, "paused": list(changed)})
    elif changed:
        say(f"{_called(what, name, changed)} is paused; to resume it: windfall resume {what.value} {name}")
    else:
        say(f"{what.value} {name} was already paused")


def resume(
    what: What,
    name: Name,
    route: LaneRoute = None,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Resume a paused lane, batch or worker."""
    changed = run_async(_resume(producer(redis, config), what, name, _checked(what, route)))
    if as_json:
        say_json({"what": what.value, "name": name, "resumed": list(changed)})
    elif changed:
        say(f"{_called(what, name, changed)} is resumed{_shared(what, name, changed)}")
    else:
        say(f"{what.value} {name} was not paused")


def drain(
    worker: Annotated[str, typer.Argument(metavar="WORKER", help="A worker's id or name, as shown by windfall fleet.")],
    wait: Annotated[bool, typer.Option("--wait", help="Return only when it has ended.")] = False,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Stop a worker as Ctrl-C does: no new jobs, time for the running ones, the rest back to their lanes."""
    told = run_async(_drain(producer(redis, config), worker, wait=wait))
    if as_json:
        say_json({"worker": worker, "told": list(told), "ended": wait})
    else:
        say("\n".join(f"worker {each} " + ("has ended" if wait else "was told to drain") for each in told))


def _checked(what: Pausable, route: Route | None) -> Route | None:
    if route is not None and what is not Pausable.LANE:
        raise ConfigError(f"--route applies to lanes; a {what.value} has no route")
    return route


def _called(what: Pausable, name: str, changed: tuple[str, ...]) -> str:
    if what is Pausable.LANE and len(changed) < len(Route):
        return f"lane {name} ({', '.join(changed)})"
    return f"{what.value} {name}"


def _shared(what: Pausable, name: str, changed: tuple[str, ...]) -> str:
    """The other names by which a worker was paused, which also affects other workers."""
    others = [each for each in changed if name not in (each, worker_name(each))] if what is Pausable.WORKER else []
    return f", as is every other worker paused as {', '.join(others)}" if others else ""


async def _pause(producer: Producer, what: Pausable, name: str, route: Route | None) -> tuple[str, ...]:
    async with producer:
        return await producer.pause(what.value, name, route=route)


async def _resume(producer: Producer, what: Pausable, name: str, route: Route | None) -> tuple[str, ...]:
    async with producer:
        return await producer.resume(what.value, name, route=route)


async def _drain(producer: Producer, worker: str, *, wait: bool) -> tuple[str, ...]:
    async with producer:
        told = await producer.drain(worker)
        if wait:
            note(f"waiting for {', '.join(told)} to end")
            while await _any_live(producer, told):  # noqa: ASYNC110 - they are other processes
                await asyncio.sleep(_PERIOD)
        return told


async def _any_live(producer: Producer, ids: tuple[str, ...]) -> bool:
    try:
        return any(worker.id in ids for worker in (await producer.fleet()).workers)
    except BrokerUnavailable:
        return True  # unknown
