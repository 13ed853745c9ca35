"""Rows of the engine's table: sides in turn, medians, ratios, JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import _engine
from _bench import OUT, Panel, plot
from _engine import BatchGenerate, Server, Side, Windfall

from windfall import CompletionRequest

WINDFALL, BATCH, SERVER = "windfall", "batch_generate", "server"


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of work. `requests(round)` differ from round to round wherever something could be remembered.

    `targets` are the ratios wanted, by peer; None where there is none. `beginnings(round)` are what the sides of
    `warmed` are given before the clock starts. `chunk` is how many prompts `batch_generate` gets at a time.
    """

    name: str
    requests: Callable[[int], Sequence[CompletionRequest]]
    targets: dict[str, float | None]
    beginnings: Callable[[int], Sequence[CompletionRequest]] = lambda _: ()
    warmed: frozenset[str] = frozenset()
    chunk: int = 1 << 30


@dataclass(slots=True)
class Times:
    """What one side took, round by round."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    tokens: int = 0


def main(name: str, about: str | None, rows: Sequence[Row]) -> None:
    """Measure the rows, print a table, write `.bench/<name>.json` and `.png`."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--row", help="only rows whose name contains this")
    parser.add_argument("--alone", action="store_true", help="only Windfall's side")
    options = parser.parse_args()
    figures = []
    for row in rows:
        if not options.row or options.row in row.name:
            figures.append(asyncio.run(_measure(row, options.runs, alone=options.alone)))
            _show(figures[-1])
    plot(name, "The engine, from the rows to the last result", [_panel(row) for row in figures])
    (OUT / f"{name}.json").write_text(json.dumps({"cores": os.cpu_count(), "rows": figures}, indent=2) + "\n")


def _panel(row: dict[str, Any]) -> Panel:
    rates = {side: [row["tokens"][side] / took for took in times] for side, times in row["seconds"].items()}
    return Panel(f"{row['work']} [tokens/s, more is better]", rates)


async def _measure(row: Row, runs: int, *, alone: bool) -> dict[str, Any]:
    """The sides in turn; the order within a round changes too. A first round, not counted, warms all of them up."""
    times: dict[str, Times] = {}
    idle: list[float] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = _engine.make_model(folder)
        ours = await stack.enter_async_context(Windfall.start(model, folder))
        sides: dict[str, Side] = {WINDFALL: ours}
        if BATCH in row.targets and not alone:
            sides[BATCH] = await stack.enter_async_context(BatchGenerate.start(model, row.chunk))
        if SERVER in row.targets and not alone:
            sides[SERVER] = await stack.enter_async_context(Server.start(model))
        for number in range(runs + 1):
            requests = row.requests(number)
            for name in sorted(sides, reverse=number % 2 == 0):
                side = sides[name]
                if name in row.warmed:
                    await side.warm(row.beginnings(number))
                await ours.beats()
                cpu, began = _cpu_seconds(), _engine.now()
                tokens = await side.run(requests)
                took, spent = _engine.now() - began, _cpu_seconds() - cpu
                print(f"      {row.name}, {number}: {name} {took:.2f} s, {spent:.2f} s of processor", file=sys.stderr)
                if number:
                    one = times.setdefault(name, Times())
                    one.seconds.append(took)
                    one.cpu.append(spent)
                    one.tokens = tokens
                    if name == WINDFALL and (share := _engine.idle_share(await ours.beats())) is not None:
                        idle.append(share)
    return _figures(row, times, idle)


def _figures(row: Row, times: dict[str, Times], idle: list[float]) -> dict[str, Any]:
    ours = times[WINDFALL]
    peers = {
        name: {
            "ratio": statistics.median(b / a for a, b in zip(ours.seconds, one.seconds, strict=True)),
            "cpu_ratio": statistics.median(b / (a or 1) for a, b in zip(ours.cpu, one.cpu, strict=True)),
            "target": row.targets[name],
        }
        for name, one in times.items()
        if name != WINDFALL
    }
    return {
        "work": row.name,
        "tokens": {name: one.tokens for name, one in times.items()},
        "seconds": {name: one.seconds for name, one in times.items()},
        "tokens_per_second": {name: one.tokens / statistics.median(one.seconds) for name, one in times.items()},
        "peers": peers,
        "idle_share": statistics.median(idle) if idle else None,
        "load": os.getloadavg(),
    }


def _show(figures: dict[str, Any]) -> None:
    rates = figures["tokens_per_second"]
    print(f"{figures['work']}: windfall {rates[WINDFALL]:,.0f} tokens/s (load {figures['load'][0]:.1f})")
    for name, peer in figures["peers"].items():
        wanted = peer["target"]
        target = "" if wanted is None else f"   target {wanted:5.2f}" + ("  MISSED" if peer["ratio"] < wanted else "")
        print(
            f"    {name:15} {rates[name]:7,.0f} tokens/s   ratio {peer['ratio']:5.2f}   by processor time "
            f"{peer['cpu_ratio']:5.2f}{target}"
        )
    if figures["idle_share"] is not None:
        print(f"    engine outside of steps {figures['idle_share']:.1%}   target 2 %", flush=True)


def _cpu_seconds() -> float:
    """Processor time of this process and of all that descend from it so far; 0 where there is no /proc."""
    times, parents = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended
        parents[int(stat.parent.name)] = int(fields[1])
        times[int(stat.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    found = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sum(times.get(pid, 0.0) for pid in found)
