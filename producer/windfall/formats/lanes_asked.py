"""How many rows of a file ask for which lane: a quick look that validates nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any, BinaryIO, Final

from pydantic_core import from_json

from windfall.formats.lines import split_lines
from windfall.formats.overrides import Overrides
from windfall.request import Route

#: Where a line may hold its body.
_BODIES: Final = ("body", "params")


def count_lanes(
    stream: BinaryIO, overrides: Overrides, models: Collection[str], max_row_bytes: int
) -> Counter[tuple[str, Route]]:
    """Rows by model and route, for these models only: a file may name any number. Rows that cannot run may count too.

    Where the overrides say both, the lines are only counted, some millions a second.
    """
    found: Counter[tuple[str, Route]] = Counter()
    if overrides.model is not None and overrides.route is not None:
        if overrides.model in models:
            found[overrides.model, overrides.route] = sum(1 for _ in split_lines(stream, max_row_bytes))
        return found
    for _, line in split_lines(stream, max_row_bytes):
        body = overrides.applied_to(_body(line))
        model, route = body.get("model"), body.get("route", Route.AUTO)
        if isinstance(model, str) and model in models and route in set(Route):
            found[model, Route(route)] += 1
    return found


def _body(line: bytes | None) -> dict[str, Any]:
    try:
        row = from_json(line) if line else {}
    except ValueError:
        return {}
    if not isinstance(row, dict):
        return {}
    return next((row[name] for name in _BODIES if isinstance(row.get(name), dict)), row)
