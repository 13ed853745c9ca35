"""The flags of `windfall worker` that are about the machine and who uses it."""

from __future__ import annotations

from typing import Annotated

import typer

_PANEL = "When it works (without these: always)"

Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="HOURS", rich_help_panel=_PANEL, show_default=False,
        help="In these hours of this machine: 20:00-08:00, 'mon-fri 20:00-08:00' or sat,sun. May be given several "
        "times.",
    ),
]  # fmt: skip
OnAC = Annotated[
    bool | None,
    typer.Option("--on-ac", rich_help_panel=_PANEL, show_default=False, help="On mains power."),
]
AboveBattery = Annotated[
    float | None,
    typer.Option(
        "--above-battery", metavar="PERCENT", rich_help_panel=_PANEL, show_default=False,
        help="While the battery is at least this full, such as 40.",
    ),
]  # fmt: skip
BelowThermal = Annotated[
    str | None,
    typer.Option(
        "--below-thermal", metavar="STATE", rich_help_panel=_PANEL, show_default=False,
        help="While the machine is cooler than this: fair, serious or critical.",
    ),
]  # fmt: skip
WhenIdle = Annotated[
    str | None,
    typer.Option(
        "--when-idle", metavar="TIME", rich_help_panel=_PANEL, show_default=False,
        help="When nobody has touched keyboard, mouse or trackpad for so long, such as 10m.",
    ),
]  # fmt: skip
