"""Rows a second and peak memory of `windfall run --simulate 0` over CSV and Parquet, against the same rows as requests.

    python tests/benchmarks/tables_rows.py [--rows 100000] [--samples 5]

Each sample is a whole run of the command in a folder of its own, with a broker and a simulated worker. Every row has
its own text, so that none is copied from another.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Final

import polars as pl
from _bench import OURS, Row, Table, Target

_PEER: Final = "request lines"
_ASK: Final = ("--prompt", "Sentiment of: {text}", "--column", "sentiment")


def write_inputs(folder: Path, rows: int) -> dict[str, tuple[str, ...]]:
    """The same rows in three formats; returns the arguments of each side."""
    texts = [f"review {number} of a product, which was {number % 7} of 7 " + "x" * 100 for number in range(rows)]
    frame = pl.DataFrame({"id": range(rows), "text": texts, "stars": [number % 5 + 1 for number in range(rows)]})
    frame.write_csv(folder / "in.csv")
    frame.write_parquet(folder / "in.parquet")
    with (folder / "in.jsonl").open("w") as file:
        for text in texts:
            messages = [{"role": "user", "content": f"Sentiment of: {text}"}]
            file.write(json.dumps({"model": "any", "temperature": 0, "messages": messages}) + "\n")
    return {
        _PEER: ("in.jsonl", "-o", "out.jsonl"),
        OURS: ("in.csv", "-o", "out.csv", *_ASK),
        "parquet": ("in.parquet", "-o", "out.parquet", *_ASK),
    }


async def run(folder: Path, args: tuple[str, ...]) -> tuple[float, float]:
    """Seconds, and MB of the command's own process at its largest."""
    for left in [*folder.glob("out.*"), *folder.glob(".out*")]:
        left.unlink()
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "windfall", "run", *args, "--model", "any", "--simulate", "0", "--slots", "256",
        cwd=folder, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    largest = asyncio.create_task(peak(process.pid))
    _, told = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(told.decode()[-2000:])
    return time.perf_counter() - began, await largest


async def peak(pid: int) -> float:
    """MB that the process had at its largest, without its children; 0 where /proc does not say."""
    kilobytes, status = 0, Path(f"/proc/{pid}/status")
    with suppress(OSError):
        while found := re.search(r"VmHWM:\s+(\d+)", status.read_text()):
            kilobytes = int(found[1])
            await asyncio.sleep(0.1)
    return kilobytes / 1000


async def measure(rows: int, samples: int) -> Table:
    """Every side in turn."""
    rates: defaultdict[str, list[float]] = defaultdict(list)
    memory: defaultdict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        sides = write_inputs(Path(name), rows)
        for _ in range(samples):
            for side, args in sides.items():
                seconds, megabytes = await run(Path(name), args)
                rates[side].append(rows / seconds)
                memory[side].append(megabytes)
    parquet = {OURS: rates["parquet"], _PEER: rates[_PEER]}
    return Table(
        "tables_rows",
        f"{rows:,} rows through windfall run --simulate 0",
        [
            Row("CSV", "rows/s", {OURS: rates[OURS], _PEER: rates[_PEER]}, Target(ratio=0.9)),
            Row("Parquet", "rows/s", parquet, Target(ratio=0.9)),
            Row("memory, CSV", "MB", {OURS: memory[OURS], _PEER: memory[_PEER]}, Target(figure=400), "less"),
            Row("memory, Parquet", "MB", {OURS: memory["parquet"], _PEER: memory[_PEER]}, Target(figure=400), "less"),
        ],
    )


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=5)
    args = parser.parse_args()
    asyncio.run(measure(args.rows, args.samples)).report()


if __name__ == "__main__":
    main()
