"""`windfall share`: the weights of owners."""

from __future__ import annotations

from typing import Annotated

import typer

from windfall.cli import options
from windfall.cli.screen.console import note, say, say_json, say_table
from windfall.cli.session import producer, run_async
from windfall.producer import Producer


def share(
    owner: Annotated[
        str | None, typer.Argument(metavar="OWNER", help="An owner, as given to submit --owner.", show_default=False)
    ] = None,
    weight: Annotated[
        float | None,
        typer.Argument(
            metavar="WEIGHT", help="Its weight: 2 is twice the share of 1, which is the default.", show_default=False
        ),
    ] = None,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Set an owner's weight: its share of each lane beside other owners, and batches without one, which have 1 each.

    Without WEIGHT it prints the owner's weight; without any arguments, all that were set.
    """
    weights = run_async(_share(producer(redis, config), owner, weight))
    shown = weights if owner is None else {owner: weights.get(owner, 1.0)}
    if as_json:
        say_json(shown)
    elif owner is not None:
        say(f"{owner} has a weight of {shown[owner]:g}")
    elif shown:
        say_table(("OWNER", "WEIGHT"), [(name, f"{each:g}") for name, each in sorted(shown.items())], right=("WEIGHT",))
    else:
        note("every owner has a weight of 1")


async def _share(producer: Producer, owner: str | None, weight: float | None) -> dict[str, float]:
    async with producer:
        if owner is not None and weight is not None:
            await producer.set_weight(owner, weight)
        return await producer.weights()
