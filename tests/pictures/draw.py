"""Draws the pictures of the documentation: `make pictures`.

`fleet.json` has the format of what `windfall fleet --json` prints. Its numbers are made up for three Macs that share a
batch of 6,000 rows: they illustrate the page, and measure nothing.
"""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree as ET

from rich.console import Console, RenderableType

from windfall import BatchStatus
from windfall.cli.screen.fleet_page import FleetView, page
from windfall.cli.screen.progress import RowsDone
from windfall.queue.fleet import FleetStatus

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def view() -> FleetView:
    """The fleet as it was."""
    found = json.loads((Path(__file__).parent / "fleet.json").read_text())
    return FleetView(
        FleetStatus.model_validate(found), [BatchStatus.model_validate(batch) for batch in found["batches"]]
    )


def drawings() -> dict[str, str]:
    """Every picture, by the name of its file."""
    seen = view()
    (batch,) = [batch for batch in seen.batches if not batch.paused]
    rows = RowsDone(f"batch {batch.id}", batch.finished, batch.total, 0, batch.rate)
    return {
        "fleet.svg": _svg("windfall fleet --watch", page(seen, 100), 100),
        "fleet-narrow.svg": _svg("windfall fleet --watch, 60 columns wide", page(seen, 60), 60),
        "watch.svg": _svg(f"windfall watch {batch.id}", rows.drawn(100), 100),
    }


def words(svg: str) -> list[str]:
    """What a picture says, line by line: how it is drawn is for the version of rich at hand."""
    namespace = "{http://www.w3.org/2000/svg}"
    texts = ET.fromstring(svg).iter(f"{namespace}text")  # noqa: S314 - our own
    return [text for each in texts if (text := "".join(each.itertext()).replace("\xa0", " ").strip())]


def _svg(title: str, what: RenderableType, width: int) -> str:
    console = Console(
        record=True, width=width, file=StringIO(), force_terminal=True, color_system="truecolor", legacy_windows=False,
    )  # fmt: skip
    console.print(what)
    drawn = console.export_svg(title=title, unique_id="windfall")
    # A picture of a repository is to ask nobody for a font.
    return re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    for name, drawn in drawings().items():
        (IMAGES / name).write_text(drawn, encoding="utf-8")
