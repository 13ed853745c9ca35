"""How fast workers go through a queue: no-op jobs in one process and in four, and 0.1 s jobs in 32 slots.

    python tests/benchmarks/queue_drain.py [--rounds 5] [--only noop-1 noop-4 sleep] [--peers saq dramatiq …]

The workers are up and idle; the clock runs from the first job enqueued to the last one done, as the queue itself counts
them, looked at every 20 ms. No side's results are read within it; ours are counted afterwards, and one that is missing
ends the run. Each peer enqueues in the fastest way that it documents.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from _bench import OURS, Row, Side, Table, Target, fresh_redis, in_turn
from _ours import Ours
from _peers import REQUIREMENTS, Peer, set_up


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done by whom."""

    title: str
    jobs: int
    seconds: float
    slots: int
    processes: int
    target: Target


WORKS = {
    "noop-1": Work("5,000 no-op jobs, 1 process of 64 slots", 5000, 0.0, 64, 1, Target(ratio=2)),
    "noop-4": Work("5,000 no-op jobs, 4 processes of 64 slots", 5000, 0.0, 64, 4, Target(ratio=1.5)),
    "sleep": Work("2,000 x 0.1 s, 32 slots (ideal 320/s)", 2000, 0.1, 32, 1, Target(figure=0.95 * 320)),
}


def ours_side(work: Work) -> Side:
    """Jobs a second by Windfall."""

    async def measure() -> float:
        async with fresh_redis() as redis:
            ours = Ours(redis, work.slots)
            async with ours.workers(work.processes, work.seconds):
                return work.jobs / await ours.drain(work.jobs)

    return measure


def peer_side(name: str, work: Work) -> Side:
    """Jobs a second by a peer."""

    async def measure() -> float:
        async with fresh_redis() as redis:
            peer = Peer(name, redis, work.slots)
            async with peer.workers(work.processes):
                took = await peer.call("drain", jobs=work.jobs, seconds=work.seconds)
                return work.jobs / float(took["took"])

    return measure


async def measure(rounds: int, works: Iterable[str], peers: Iterable[str]) -> Table:
    """Each work in turn on each side."""
    table = Table("queue_drain", "Going through a queue")
    for name in works:
        work = WORKS[name]
        print(work.title, flush=True)
        sides = {OURS: ours_side(work)} | {peer: peer_side(peer, work) for peer in peers}
        table.rows.append(Row(work.title, "jobs/s", await in_turn(sides, rounds), work.target))
    return table


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(WORKS), default=list(WORKS))
    parser.add_argument("--peers", nargs="*", choices=list(REQUIREMENTS), default=list(REQUIREMENTS))
    args = parser.parse_args()
    set_up(args.peers)
    asyncio.run(measure(args.rounds, args.only, args.peers)).report()


if __name__ == "__main__":
    main()
