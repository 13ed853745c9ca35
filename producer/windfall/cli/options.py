"""Flags shared by several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from windfall.broker.connection import redact
from windfall.cli.screen.console import note
from windfall.config.durations import parse_duration
from windfall.errors import ConfigError
from windfall.request import Route


def duration_flag(text: str) -> float:
    """The parser of flags that take a duration."""
    try:
        return parse_duration(text)
    except ConfigError as exc:
        raise typer.BadParameter(str(exc)) from None


def password_in_sight(redis: str | None) -> str | None:
    """A warning about a password in `--redis`, or None."""
    if redis is None or redis.startswith("@") or redact(redis) == redis:
        return None
    return (
        "warning: anyone who can list this machine's processes can read the password in --redis; set the variable "
        "WINDFALL_REDIS_URL instead, or put the URL into a file that only you can read and use --redis @FILE"
    )


def _warned(redis: str | None) -> str | None:
    if warning := password_in_sight(redis):
        note(warning)
    return redis


_REDIS_HELP: Final = (
    "The Redis to use, such as redis://HOST:6379, or @FILE for a file that holds the URL. Default: the variable "
    "WINDFALL_REDIS_URL, then windfall.toml, then redis://localhost:6379."
)
RedisUrl = Annotated[
    str | None,
    typer.Option("--redis", metavar="URL", help=_REDIS_HELP, show_default=False, callback=_warned),
]
#: The same for a command that logs its warnings.
LoggedRedisUrl = Annotated[str | None, typer.Option("--redis", metavar="URL", help=_REDIS_HELP, show_default=False)]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="A settings file to use instead of windfall.toml.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Input = Annotated[
    Path,
    typer.Argument(
        metavar="IN",
        help="A JSONL file of requests (OpenAI Batch lines, Anthropic batch lines or bare bodies), or - for stdin.",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="OUT", help="The file for the results (OpenAI Batch output lines); - is stdout."
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="The model for every row, including rows that name another one.",
        show_default=False,
    ),
]
RouteOption = Annotated[
    Route | None,
    typer.Option(
        "--route",
        show_default=False,
        help="Where every row may run; overrides the rows. Rows without one: auto, or route in windfall.toml.",
    ),
]
Priority = Annotated[
    int | None,
    typer.Option(
        min=-9, max=9, metavar="N", help="-9 to 9, for every row; each level doubles its share beside others.",
        show_default=False,
    ),
]  # fmt: skip
Owner = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", show_default=False,
        help="Whose share of the fleet the batch is a part of, with NAME's other batches [it has its own share].",
    ),
]  # fmt: skip
Interactive = Annotated[
    bool, typer.Option("--interactive", help="Somebody waits for it: its rows go before all others.")
]
Deadline = Annotated[
    float | None,
    typer.Option(
        metavar="TIME", parser=duration_flag, show_default=False,
        help="Rows unfinished after this time expire: 90s, 15m, 8h, 7d, or seconds.",
    ),
]  # fmt: skip
Keep = Annotated[
    float | None,
    typer.Option(
        metavar="TIME", parser=duration_flag, help="How long the batch is kept after it finishes [7d]; 0 is forever.",
        show_default=False,
    ),
]  # fmt: skip
BatchName = Annotated[str, typer.Argument(metavar="ID", help="The id of a batch, as printed by submit.")]
AnyName = Annotated[str, typer.Argument(metavar="ID", help="The id of a batch or a job.")]
JobName = Annotated[
    str, typer.Argument(metavar="JOB_ID", help="The id of a job; row 7 of batch abc is abc:7.")
]  # fmt: skip
