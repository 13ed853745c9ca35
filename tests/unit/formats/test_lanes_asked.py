"""How many rows of a file ask for which lane."""

from __future__ import annotations

import io
import json
from collections import Counter

import pytest

from windfall import Route
from windfall.formats import Overrides
from windfall.formats.lanes_asked import count_lanes

LINES: tuple[object, ...] = (
    {"model": "small", "messages": []},
    {"custom_id": "b", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "small", "route": "cloud"}},
    {"custom_id": "c", "params": {"model": "small"}},
    {"model": "large", "route": "local"},
    {"model": "other"},
    {"messages": []},
    {"model": ["small"]},
    {"model": "small", "route": "moon"},
    [1, 2],
)
FILE = b"\n".join([*(json.dumps(line).encode() for line in LINES), b"{not json", b"", b'{"model": "sm' + b"x" * 500])


@pytest.mark.parametrize(
    ("overrides", "counts"),
    [
        (Overrides(), {("small", Route.AUTO): 2, ("small", Route.CLOUD): 1, ("large", Route.LOCAL): 1}),
        (
            Overrides(usual_route=Route.LOCAL),
            {("small", Route.LOCAL): 2, ("small", Route.CLOUD): 1, ("large", Route.LOCAL): 1},
        ),
        (Overrides(route=Route.CLOUD), {("small", Route.CLOUD): 4, ("large", Route.CLOUD): 1}),
        (Overrides(model="small", route=Route.AUTO), {("small", Route.AUTO): 11}),
        (Overrides(model="other", route=Route.AUTO), {}),
    ],
)
def test_rows_are_counted_by_what_they_ask_for_and_what_is_set_for_them(
    overrides: Overrides, counts: Counter[tuple[str, Route]]
) -> None:
    assert count_lanes(io.BytesIO(FILE), overrides, {"small", "large"}, 400) == counts
