"""The flags by which people are told that a batch has ended."""

from __future__ import annotations

from typing import Annotated

import typer

Notify = Annotated[
    bool, typer.Option("--notify", help="Show a notification on this desktop when it ends, or stalls for 10 minutes.")
]
Webhook = Annotated[
    str | None,
    typer.Option(
        "--webhook", metavar="URL", show_default=False,
        help="Post the same as signed JSON to this address (https://www.standardwebhooks.com); the secret is in "
        "WINDFALL_WEBHOOK_SECRET.",
    ),
]  # fmt: skip
