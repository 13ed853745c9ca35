"""`windfall breaker`: look at the circuit breakers of the fleet, and move one by hand."""

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

T = TypeVar("T")

app = typer.Typer(help="Look at the circuit breakers of the cloud's endpoints, and open or close one by hand.")

Name = Annotated[str, typer.Argument(help="A breaker's name, as `windfall breaker list` prints it.")]


@app.command("list")
def list_(redis: options.RedisUrl = None, config: options.Config = None, as_json: options.AsJson = False) -> None:
    """Show every breaker: its state, its failures, and when it may be tried again; and the cool-downs."""
    breakers, cooldowns = run_async(_on_redis(redis, config, read_breakers))
    if as_json:
        say_json({"breakers": [asdict(breaker) for breaker in breakers], "cooldowns": cooldowns})
    else:
        say_breakers(breakers, cooldowns)
        if not breakers:
            say("no endpoint has been called yet")


@app.command("open")
def open_(
    name: Name,
    seconds: Annotated[
        float, typer.Option("--for", min=0, metavar="SECONDS", help="For how long; 0 is until it is closed by hand.")
    ] = 0.0,
    redis: options.RedisUrl = None,
    config: options.Config = None,
) -> None:
    """Let no call through to an endpoint, on any worker."""
    from windfall_worker.guards.circuit import open_breaker  # noqa: PLC0415 - a producer does not load the worker

    run_async(_on_redis(redis, config, lambda found: open_breaker(found, name, seconds)))
    say(f"{name} is open" + (f" for {seconds:g} s" if seconds else "; windfall breaker close closes it again"))


@app.command("close")
def close(name: Name, redis: options.RedisUrl = None, config: options.Config = None) -> None:
    """Let calls through to an endpoint again, at once and on every worker; its cool-down ends too."""
    from windfall_worker.guards.circuit import close_breaker  # noqa: PLC0415 - a producer does not load the worker
    from windfall_worker.guards.cooldown import end_cooldown  # noqa: PLC0415

    async def close_both(found: Any) -> None:
        await close_breaker(found, name)
        await end_cooldown(found, name)

    run_async(_on_redis(redis, config, close_both))
    say(f"{name} is closed")


async def read_breakers(redis: Any) -> tuple[list[BreakerStatus], dict[str, float]]:
    """Every breaker, and every cool-down with the seconds that are left of it."""
    from windfall_worker.guards.circuit import list_breakers  # noqa: PLC0415 - a producer does not load the worker

    with translated():
        breakers = await list_breakers(redis)
        # By name, and not by a scan: there may be millions of keys.
        left = [await redis.pttl(keys.COOLDOWN + breaker.name) for breaker in breakers]
    return breakers, {each.name: ms / 1000 for each, ms in zip(breakers, left, strict=True) if ms > 0}


def say_breakers(breakers: list[BreakerStatus], cooldowns: dict[str, float]) -> None:
    """Print what there is of breakers and cool-downs, and nothing where there is none."""
    if not breakers:
        return
    say_table(
        ("BREAKER", "STATE", "FAILURES", "TRY AGAIN IN", "COOL-DOWN"),
        [
            (
                each.name,
                each.state,
                str(each.failures),
                "when closed by hand" if each.held else _seconds(each.retry_after),
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
