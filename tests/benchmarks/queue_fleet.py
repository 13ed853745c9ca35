"""A fleet: 16 worker processes of 64 slots, 4,096 jobs of 5 s. Ideal: 1,024 at once, 20 s.

    python tests/benchmarks/queue_fleet.py [--rounds 1] [--workers 16] [--peers saq]

A round takes half a minute a side (arq: a minute and a half more); with `--peers` others are measured beside us.
"""

from __future__ import annotations

import argparse
import asyncio

from _bench import OURS, Row, Side, Table, Target, fresh_redis, in_turn
from _ours import Ours
from _peers import REQUIREMENTS, Peer, set_up

from windfall.batch import BatchStatus

SLOTS, SECONDS, ROUNDS_OF_SLOTS = 64, 5.0, 4


class OurFleet:
    """Windfall, and how many jobs it ran at once."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self.most: list[int] = []

    async def measure(self) -> float:
        """Seconds."""
        self.most.append(0)
        async with fresh_redis() as redis:
            ours = Ours(redis, SLOTS)
            async with ours.workers(self._workers, SECONDS):
                await asyncio.sleep(2)  # 16 processes have just started on few cores
                return await ours.drain(self._workers * SLOTS * ROUNDS_OF_SLOTS, self._look)

    def _look(self, batch: BatchStatus) -> None:
        self.most[-1] = max(self.most[-1], batch.running)


def peer_side(name: str, workers: int) -> Side:
    """Seconds by a peer."""

    async def measure() -> float:
        async with fresh_redis() as redis:
            peer = Peer(name, redis, SLOTS)
            async with peer.workers(workers):
                took = await peer.call("drain", jobs=workers * SLOTS * ROUNDS_OF_SLOTS, seconds=SECONDS)
                return float(took["took"])

    return measure


async def measure(rounds: int, workers: int, peers: list[str]) -> Table:
    """Both, in turn."""
    slots = workers * SLOTS
    table = Table("queue_fleet", f"{workers} workers x {SLOTS} slots")
    fleet = OurFleet(workers)
    sides: dict[str, Side] = {OURS: fleet.measure} | {name: peer_side(name, workers) for name in peers}
    figures = await in_turn(sides, rounds)
    work = f"{slots * ROUNDS_OF_SLOTS:,} x 5 s (ideal 20 s)"
    note = f"claimed and without a result at once, at most: {fleet.most}; there are {slots:,} slots"
    table.rows.append(Row(work, "s", figures, Target(figure=21.3), better="less", note=note))
    return table


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--peers", nargs="*", choices=list(REQUIREMENTS), default=["saq"])
    args = parser.parse_args()
    set_up(args.peers)
    asyncio.run(measure(args.rounds, args.workers, args.peers)).report()


if __name__ == "__main__":
    main()
