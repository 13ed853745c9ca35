"""The flags of `windfall worker` that depend on the machine and its user."""

from __future__ import annotations

from typing import Annotated, Final

import typer

_PANEL: Final = "When it works (default: always)"

Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="HOURS", rich_help_panel=_PANEL, show_default=False,
        help="During these hours, local time: 20:00-08:00, 'mon-fri 20:00-08:00' or sat,sun. May be given several "
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
        help="After the keyboard, mouse and trackpad have been idle this long, such as 10m.",
    ),
]  # fmt: skip
