"""A line of a worker's log, formatted for people."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from windfall.cli.screen.console import printable


def readable(line: str) -> str:
    """A JSON line as `2026-11-23 07:22:23 warning  what happened  job=b:7`; any other line as it is."""
    try:
        fields: dict[str, Any] = json.loads(line)
        when = datetime.fromisoformat(fields.pop("time")).astimezone()
        what = printable(str(fields.pop("event")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return printable(line)
    level = fields.pop("level", "")
    fields.pop("logger", None)
    trace = fields.pop("exception", "")
    rest = "  ".join(f"{name}={printable(str(value))}" for name, value in fields.items())
    text = f"{when:%Y-%m-%d %H:%M:%S} {level:<8} {what}" + (f"  {rest}" if rest else "")
    return "\n".join([text, *(printable(each) for each in str(trace).splitlines())])
