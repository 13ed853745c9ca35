"""The flags of `windfall worker` for logs and metrics."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class _Format(StrEnum):
    AUTO = "auto"
    HUMAN = "human"
    JSON = "json"


class _Level(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port", min=0, max=65535, metavar="N", help="Serve Prometheus metrics on this port; 0 is off [0].",
        show_default=False,
    ),
]  # fmt: skip
MetricsHost = Annotated[
    str | None,
    typer.Option(
        "--metrics-host", metavar="HOST", help="The local address to serve them on [127.0.0.1].",
        show_default=False,
    ),
]  # fmt: skip
LogFormat = Annotated[
    _Format | None,
    typer.Option(
        "--log-format",
        help="Log lines for people, or one JSON object per line; auto: JSON unless in a terminal [auto].",
        show_default=False,
    ),
]
LogLevel = Annotated[
    _Level | None,
    typer.Option(
        "--log-level", help="The least severe level to log; info has a line for each job [warning].", show_default=False
    ),
]
