"""Faults by chance, one about every five seconds, under a batch on three workers: `make soak SECONDS=600 SEED=7`.

    python tests/faults/soak.py [--seconds 60] [--seed N] [--every 5]

Prints rows, results, lost, twice and the waste by fault, writes them to `.bench/soak.json`, and fails when a row has no
result or two, when a batch's counts did not add up at some instant, or when a worker logged a traceback. The seed makes
the order of the faults the same again, not their meeting with the jobs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.invariants import Tally, Watch, finished
from faults.mischief import MISCHIEF, Victims
from windfall import Producer, keys
from windfall.runtime.tasks import cancel_all

WORKERS = 3
#: Rows for every second of faults: about half of what three workers with eight slots of 0.5 s can do undisturbed.
ROWS_A_SECOND = 24
#: Seconds that what is left may take after the last fault.
REST = 240.0


@dataclass
class Report:
    """What came of a soak."""

    rows: int
    results: int = 0
    lost: int = 0
    twice: int = 0
    left_over: int = 0
    states: dict[str, int] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    waste: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    wrong_counts: int = 0
    tracebacks: int = 0

    @property
    def broken(self) -> bool:
        """Whether an invariant was."""
        return bool(self.lost or self.twice or self.left_over or self.wrong_counts or self.tracebacks)


async def trouble(victims: Victims, seconds: float, every: float) -> list[tuple[float, str]]:
    """One fault after the other; returns when each began."""
    history = []
    end = time.monotonic() + seconds
    deck: list[int] = []
    while time.monotonic() < end:
        await asyncio.sleep(victims.chance.uniform(0.6, 1.4) * every)
        # Dealt like cards, so that a short soak has every kind too.
        deck = deck or victims.chance.sample(range(len(MISCHIEF)), len(MISCHIEF))
        fault = MISCHIEF[deck.pop()]
        history.append((time.monotonic(), fault.__name__))
        print(f"{end - time.monotonic():6.1f} s left: {fault.__name__.replace('_', ' ')}", flush=True)
        await fault(victims)
    return history


def waste_by_fault(tally: Tally, history: list[tuple[float, str]]) -> Counter[str]:
    """Every completion that was asked for again, by the last fault before that."""
    seen: set[str] = set()
    waste: Counter[str] = Counter()
    for line in sorted(tally.file.read_text().splitlines(), key=lambda line: float(line.split()[0])):
        at, job = float(line.split()[0]), line.split()[1]
        if job in seen:
            before = [name for began, name in history if began <= at]
            waste[before[-1] if before else "no fault"] += 1
        seen.add(job)
    return waste


async def tally_up(url: str, report: Report) -> None:
    """What the batch holds in the end."""
    async with Producer(url) as producer:
        results = [result async for result in producer.results("b", follow=False)]
        for prefix in (keys.PAYLOAD, keys.HOLDER, keys.JOB):
            report.left_over += len([key async for key in producer.redis.scan_iter(f"{prefix}b:*", 1000)])
    times = Counter(result.job_id for result in results)
    report.results = len(results)
    report.lost = len({keys.job_id("b", row) for row in range(1, report.rows + 1)} - set(times))
    report.twice = sum(n > 1 for n in times.values())
    report.states = dict(Counter(result.state.value for result in results))


async def soak(seconds: float, seed: int, every: float, folder: Path) -> Report:
    """Everything, from the first row to the report."""
    report = Report(rows=max(200, round(seconds * ROWS_A_SECOND)))
    victims = Victims(folder, report.rows, random.Random(seed))
    victims.start(WORKERS)
    watch = Watch(victims.redis.url, "b")
    watching = asyncio.create_task(watch.run())
    try:
        history = await trouble(victims, seconds, every)
        # Rows of a lost second, or of a producer that was killed: the same command once more.
        await victims.submitted(REST)
        victims.submit()
        if not await victims.submitted(REST):
            raise SystemExit(f"the batch could not be submitted; {folder / 'producer.log'} says why")
        await finished(victims.redis.url, "b", within=REST)
        await tally_up(victims.redis.url, report)
    finally:
        await cancel_all([watching])
        victims.close()
    report.faults = Counter(name for _, name in history)
    report.waste = waste_by_fault(victims.tally, history)
    report.looks, report.wrong_counts = watch.looks, len(watch.wrong)
    report.tracebacks = victims.log.read_text().count("Traceback")
    return report


def show(report: Report) -> None:
    """The report for a person."""
    print(f"rows {report.rows}, results {report.results}, lost {report.lost}, twice {report.twice}")
    print(f"left over {report.left_over}, wrong counts {report.wrong_counts} of {report.looks} looks")
    print(f"tracebacks {report.tracebacks}, states {report.states}")
    print(f"waste {report.waste.total()} completions, {report.waste.total() / report.rows:.1%} of the rows")
    for name, times in sorted(report.faults.items()):
        print(f"  {name.replace('_', ' '):18} {times:3} times, waste {report.waste[name]}")


def main() -> None:
    """Soak and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="of the chances [a new one every time]")
    parser.add_argument("--every", type=float, default=5, help="seconds between faults, about")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.randrange(10**6)
    folder = Path(tempfile.mkdtemp(prefix="windfall-soak-"))
    print(f"seed {seed}, {args.seconds:g} s; logs in {folder}", flush=True)
    report = asyncio.run(soak(args.seconds, seed, args.every, folder))
    show(report)
    out = Path(".bench") / "soak.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"seed": seed, "seconds": args.seconds, **vars(report)}, indent=1))
    sys.exit(1 if report.broken else 0)


if __name__ == "__main__":
    main()
