"""The flags of `windfall worker` that say how it is watched."""

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
        "--metrics-host", metavar="HOST", help="Serve them on this address of the machine [127.0.0.1].",
        show_default=False,
    ),
]  # fmt: skip
LogFormat = Annotated[
    _Format | None,
    typer.Option(
        "--log-format",
        help="The log as lines for a person or one JSON object a line; auto: JSON where it is no terminal [auto].",
        show_default=False,
    ),
]
LogLevel = Annotated[
    _Level | None,
    typer.Option(
        "--log-level", help="What is logged at least; info has a line for each job [warning].", show_default=False
    ),
]
