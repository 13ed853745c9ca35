"""The flags of `windfall worker` that say when it works, and when its cloud mappings do."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer

from windfall.cli.options import duration_flag

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

_CLOUD_PANEL: Final = "When --cloud takes jobs of route auto"


class _Spill(StrEnum):
    NO_MAC = "no-mac"
    BACKLOG = "backlog"


Spill = Annotated[
    _Spill | None,
    typer.Option(
        "--spill", rich_help_panel=_CLOUD_PANEL, show_default=False,
        help="no-mac: only while no live Mac serves the model; backlog: also while they wait for long [no-mac].",
    ),
]  # fmt: skip
SpillAfter = Annotated[
    float | None,
    typer.Option(
        "--spill-after", metavar="TIME", parser=duration_flag, rich_help_panel=_CLOUD_PANEL, show_default=False,
        help="How long no Mac has served the model by then; with --spill backlog also, how long the next job has "
        "waited [60s].",
    ),
]  # fmt: skip
