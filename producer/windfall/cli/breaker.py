"""`windfall breaker`: show the fleet's circuit breakers, and open or close one manually."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from windfall import keys
from windfall.broker.connection import connect, disconnect, translated
from windfall.cli import options
from windfall.cli.screen.console import say, say_json, say_table
from windfall.cli.session import run_async
from windfall.config.settings import load_settings

if TYPE_CHECKING:
    from windfall_worker.guards.circuit import BreakerStatus
    from windfall_worker.guards.parked import ParkedEndpoint

T = TypeVar("T")

app = typer.Typer(
    help="Show the circuit breakers of the cloud endpoints, and open or close one manually.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="A breaker's name, as `windfall breaker list` prints it.")]


@app.command("list")
def list_(redis: options.RedisUrl = None, config: options.Config = None, as_json: options.AsJson = False) -> None:
    """Show every breaker with its state, its failures and when it will be tried again, and the cool-downs."""
    breakers, cooldowns, parked = run_async(_on_redis(redis, config, read_breakers))
    if as_json:
        told = [asdict(each) for each in parked]
        say_json({"breakers": [asdict(breaker) for breaker in breakers], "cooldowns": cooldowns, "parked": told})
    else:
        say_breakers(breakers, cooldowns, {each.name: each.probe_in for each in parked})
        for each in parked:
            say(f"{each.name}: {each.reason}")
        if not breakers:
            say("no endpoint has been called yet")


@app.command("open")
def open_(
    name: Name,
    seconds: Annotated[
        float,
        typer.Option(
            "--for",
            min=0,
            metavar="SECONDS",
            help="For how long; 0 means until it is closed with windfall breaker close.",
        ),
    ] = 0.0,
    redis: options.RedisUrl = None,
    config: options.Config = None,
) -> None:
    """Stop all calls to an endpoint, on every worker."""
    from windfall_worker.guards.circuit import open_breaker  # noqa: PLC0415 - a producer does not load the worker

    run_async(_on_redis(redis, config, lambda found: open_breaker(found, name, seconds)))
    say(f"{name} is open" + (f" for {seconds:g} s" if seconds else "; windfall breaker close closes it again"))


@app.command("close")
def close(name: Name, redis: options.RedisUrl = None, config: options.Config = None) -> None:
    """Allow calls to an endpoint again, immediately and on every worker.

    Its cool-down ends too, and so does its parking: add credit or correct the key first.
    """
    from windfall_worker.guards.circuit import close_breaker  # noqa: PLC0415 - a producer does not load the worker
    from windfall_worker.guards.cooldown import end_cooldown  # noqa: PLC0415
    from windfall_worker.guards.parked import lift  # noqa: PLC0415

    async def close_all(found: Any) -> None:
        await close_breaker(found, name)
        await end_cooldown(found, name)
        await lift(found, name)

    run_async(_on_redis(redis, config, close_all))
    say(f"{name} is closed")


async def read_breakers(redis: Any) -> tuple[list[BreakerStatus], dict[str, float], list[ParkedEndpoint]]:
    """Every breaker, every cool-down with its remaining seconds, and every parked endpoint."""
    from windfall_worker.guards.circuit import list_breakers  # noqa: PLC0415 - a producer does not load the worker
    from windfall_worker.guards.parked import list_parked  # noqa: PLC0415

    with translated():
        breakers = await list_breakers(redis)
        # By name rather than by a scan: there may be millions of keys.
        left = [await redis.pttl(keys.COOLDOWN + breaker.name) for breaker in breakers]
        parked = await list_parked(redis)
    return breakers, {each.name: ms / 1000 for each, ms in zip(breakers, left, strict=True) if ms > 0}, parked


def say_breakers(breakers: list[BreakerStatus], cooldowns: dict[str, float], parked: dict[str, float]) -> None:
    """Print the breakers, the cool-downs and when parked endpoints are tried, or nothing if there are none."""
    if not breakers:
        return
    say_table(
        ("BREAKER", "STATE", "FAILURES", "TRY AGAIN IN", "COOL-DOWN"),
        [
            (
                each.name,
                "parked" if each.name in parked else each.state,
                str(each.failures),
                "when closed manually" if each.held else _seconds(parked.get(each.name, each.retry_after)),
                _seconds(cooldowns.get(each.name, 0.0)),
            )
            for each in breakers
        ],
        right=("FAILURES", "TRY AGAIN IN", "COOL-DOWN"),
    )


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value else ""


async def _on_redis(redis: str | None, config: Any, work: Callable[[Any], Awaitable[T]]) -> T:
    found = await connect(load_settings(redis=redis, config=config).redis)
    try:
        with translated():
            return await work(found)
    finally:
        await disconnect(found)
