"""Where one Redis bends: a simulation of the claim protocol with more and more Macs. Seeded; needs no Redis.

    python tests/benchmarks/scaling_fleet.py [--seconds 60] [--seed 1]

Every Mac does its share of 1 billion rows a day by 10,000 Macs. Redis is one server that takes the steps of the
protocol in the order in which they arrive, each for as long as `scaling_redis.py` measured. A worker does what
fleet_worker.py does: one claim at a time, for all its free slots, when it hears a wake-up, when a job ends and the lane
may hold more, and once a second besides; results in pages; leases, heartbeats and a look at the backlog in
their periods. Macs die, and their rows come back when their leases end.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from _bench import OUT, Panel, plot

MACS, ROWS_A_DAY = 10_000, 1_000_000_000
RATE = ROWS_A_DAY / 86_400 / MACS  #: rows a second that each Mac has to do
SLOTS, CHUNK = 32, 500
ROW_SECONDS, SPREAD = 20.0, 0.6  #: mean time of a row, and sigma of its logarithm: slots are busy for 72 %
LEASE, RENEWAL, HEARTBEAT, LOOK, IDLE_POLL = 10.0, 3.0, 2.0, 1.0, 1.0
ONE_WAY = 0.001  #: seconds between a Mac and Redis, as over a wireless network
DEATHS = 1 / 86_400  #: a Mac and second: each is pulled out of the wall once a day
WARM_UP = 30.0

FLEETS = (250, 500, 1000, 1500, 2000, 3000, 5000, 10_000)


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds of Redis: medians of `scaling_redis.py`."""

    enqueue: float = 8.3  #: a row, in chunks of 500
    wake: float = 4.6  #: a listener and wake-up
    claim: tuple[float, float] = (65.0, 15.5)  #: a call, and each row in it
    finish: tuple[float, float] = (35.0, 31.0)
    renew: tuple[float, float] = (20.0, 3.7)
    heartbeat: float = 23.9
    look: float = 24.9


@dataclass(slots=True, eq=False)
class Worker:
    """A Mac."""

    held: int = 0
    claiming: bool = False
    again: bool = False  #: heard something while it claimed
    empty: bool = False  #: its last claim found less than it asked for, and it heard of nothing since
    ended: int = 0  #: results that wait to be sent
    sending: bool = False
    dead: bool = False
    renewed: float = 0.0


@dataclass(slots=True)
class Seen:
    """What came of it after the warm-up."""

    offered: int = 0
    finished: int = 0
    waits: list[float] = field(default_factory=list)  #: of claims, in seconds
    busy: float = 0.0  #: of Redis
    running: list[int] = field(default_factory=list)
    backlog: list[int] = field(default_factory=list)
    late: int = 0  #: rows whose lease ended although their Mac lived
    lost: int = 0  #: rows that were claimed again after a death


class Fleet:
    """One Redis and its Macs."""

    def __init__(self, macs: int, seed: int, costs: Costs | None = None) -> None:
        self.costs = costs or Costs()
        self.chance = random.Random(seed)
        self.seen = Seen()
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._number = itertools.count()
        self._free_at = 0.0  # when Redis has done all that has arrived
        self._waiting = 0
        self._come_back: deque[tuple[float, int]] = deque()
        self._running = 0
        self.workers = [Worker() for _ in range(macs)]
        self._mean = math.log(ROW_SECONDS) - SPREAD**2 / 2

    def run(self, seconds: float) -> Seen:
        """Simulate so many seconds after the warm-up."""
        for worker in self.workers:
            self._at(self.chance.uniform(0, RENEWAL), self._renew, worker)
            self._at(self.chance.uniform(0, HEARTBEAT), self._tick, self.costs.heartbeat, HEARTBEAT, worker)
            self._at(self.chance.uniform(0, LOOK), self._tick, self.costs.look, LOOK, worker)
            self._at(self.chance.uniform(0, IDLE_POLL), self._poll, worker)
        self._at(0, self._enqueue)
        self._at(WARM_UP, self._look)
        self._at(self._until_a_death(), self._die)
        while self._events and self._events[0][0] < WARM_UP + seconds:
            self.now, _, action, arguments = heapq.heappop(self._events)
            action(*arguments)
        return self.seen

    def _at(self, time: float, action: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self._events, (time, next(self._number), action, arguments))

    def _serve(self, microseconds: float, action: Callable[..., None], *arguments: object) -> None:
        """A step that arrives now: Redis carries it out after those before it."""
        self._free_at = max(self.now, self._free_at) + microseconds / 1e6
        if self.now > WARM_UP:
            self.seen.busy += microseconds / 1e6
        self._at(self._free_at, action, *arguments)

    def _enqueue(self) -> None:
        """A producer sends a chunk; every Mac hears of it."""
        self._serve(CHUNK * self.costs.enqueue + len(self.workers) * self.costs.wake, self._enqueued)
        self._at(self.now + self.chance.expovariate(RATE * len(self.workers) / CHUNK), self._enqueue)

    def _enqueued(self) -> None:
        self._waiting += CHUNK
        if self.now > WARM_UP:
            self.seen.offered += CHUNK
        for worker in self.workers:
            worker.empty = False
            self._wake(worker, ONE_WAY)

    def _wake(self, worker: Worker, after: float = 0.0) -> None:
        """It claims for its free slots, or once more when the claim under way has come back."""
        if worker.claiming:
            worker.again = True
        elif worker.held < SLOTS and not worker.dead:
            worker.claiming, worker.again = True, False
            self._at(self.now + after + ONE_WAY, self._claim, worker, self.now + after)

    def _claim(self, worker: Worker, since: float) -> None:
        """The call has arrived. What it costs depends on how much there will be to take."""
        backlog = self._waiting + sum(rows for at, rows in self._come_back if at <= self.now)
        base, each = self.costs.claim
        self._serve(base + each * min(SLOTS - worker.held, backlog), self._take, worker, since)

    def _take(self, worker: Worker, since: float) -> None:
        while self._come_back and self._come_back[0][0] <= self.now:
            self._waiting += self._come_back.popleft()[1]
        taken = min(SLOTS - worker.held, self._waiting)
        worker.empty = taken < SLOTS - worker.held
        self._waiting -= taken
        self._at(self.now + ONE_WAY, self._claimed, worker, taken, since)

    def _claimed(self, worker: Worker, taken: int, since: float) -> None:
        if self.now > WARM_UP:
            self.seen.waits.append(self.now - since)
        worker.claiming = False
        worker.held += taken
        self._running += taken
        for _ in range(taken):
            self._at(self.now + self.chance.lognormvariate(self._mean, SPREAD), self._end, worker)
        if worker.again or (taken and worker.held == SLOTS):
            self._wake(worker)

    def _end(self, worker: Worker) -> None:
        if worker.dead:
            return
        self._running -= 1
        worker.held -= 1
        worker.ended += 1
        if not worker.sending:
            self._send(worker)
        if not worker.empty:
            self._wake(worker)

    def _send(self, worker: Worker) -> None:
        page, worker.ended, worker.sending = worker.ended, 0, True
        self._at(self.now + ONE_WAY, self._deliver, worker, page)

    def _deliver(self, worker: Worker, page: int) -> None:
        base, each = self.costs.finish
        self._serve(base + each * page, self._finished, worker, page)

    def _finished(self, worker: Worker, page: int) -> None:
        if self.now > WARM_UP:
            self.seen.finished += page
        worker.sending = False
        if worker.ended:
            self._send(worker)

    def _poll(self, worker: Worker) -> None:
        if not worker.dead:
            self._wake(worker)
        self._at(self.now + IDLE_POLL, self._poll, worker)

    def _tick(self, microseconds: float, period: float, worker: Worker) -> None:
        if not worker.dead:
            self._serve(microseconds, self._nothing)
        self._at(self.now + period, self._tick, microseconds, period, worker)

    def _nothing(self) -> None:
        """A step that changes nothing here."""

    def _renew(self, worker: Worker) -> None:
        if worker.dead:
            return
        base, each = self.costs.renew
        self._serve(base + each * worker.held, self._renewed, worker)

    def _renewed(self, worker: Worker) -> None:
        if worker.renewed and self.now - worker.renewed > LEASE and self.now > WARM_UP:
            self.seen.late += worker.held
        worker.renewed = self.now
        self._at(self.now + RENEWAL, self._renew, worker)

    def _until_a_death(self) -> float:
        return self.now + self.chance.expovariate(DEATHS * len(self.workers))

    def _die(self) -> None:
        """A Mac goes; another that is like it comes when its leases have ended."""
        place = self.chance.randrange(len(self.workers))
        worker = self.workers[place]
        worker.dead = True
        self._running -= worker.held
        if worker.held:
            self._come_back.append((self.now + LEASE, worker.held))
        if self.now > WARM_UP:
            self.seen.lost += worker.held
        self.workers[place] = Worker()
        self._at(self.now, self._renew, self.workers[place])
        self._at(self.now, self._poll, self.workers[place])
        self._at(self._until_a_death(), self._die)

    def _look(self) -> None:
        self.seen.running.append(self._running)
        self.seen.backlog.append(self._waiting)
        self._at(self.now + 1.0, self._look)


def figures(macs: int, seconds: float, seed: int) -> dict[str, float]:
    """What one Redis with so many Macs does."""
    seen = Fleet(macs, seed).run(seconds)
    waits = sorted(seen.waits)
    half = len(seen.backlog) // 2
    return {
        "macs": macs,
        "redis_busy": seen.busy / seconds,
        "offered": seen.offered / seconds,
        "finished": seen.finished / seconds,
        "claim_p50_ms": 1000 * waits[len(waits) // 2],
        "claim_p99_ms": 1000 * waits[int(len(waits) * 0.99)],
        "slots_busy": sum(seen.running) / len(seen.running) / (macs * SLOTS),
        "backlog_grows": (sum(seen.backlog[half:]) - sum(seen.backlog[:half])) / max(1, half) / (seconds / 2),
        "late_leases": seen.late,
        "lost_rows": seen.lost,
    }


def main() -> None:
    """Simulate each fleet, print a table, write `.bench/scaling_fleet.json` and `.png`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    found = []
    for macs in FLEETS:
        found.append(figures(macs, args.seconds, args.seed))
        line = found[-1]
        print(
            f"{macs:6,} Macs: Redis busy {line['redis_busy']:5.0%}  rows/s {line['finished']:8,.0f} of "
            f"{line['offered']:8,.0f}  claim p50 {line['claim_p50_ms']:7.1f} ms  p99 {line['claim_p99_ms']:8.1f} ms  "
            f"slots busy {line['slots_busy']:4.0%}  backlog {line['backlog_grows']:+7.1f} rows/s  "
            f"leases late {line['late_leases']:6,.0f}  lost to deaths {line['lost_rows']:4,.0f}",
            flush=True,
        )
    OUT.mkdir(exist_ok=True)
    (OUT / "scaling_fleet.json").write_text(json.dumps({"seed": args.seed, "fleets": found}, indent=1))
    panels = [
        Panel(title, {f"{line['macs']:,} Macs": [line[name]] for line in found})
        for name, title in (
            ("redis_busy", "Redis busy [1 = all of its core]"),
            ("claim_p99_ms", "claim, p99 [ms]"),
            ("slots_busy", "slots busy [share]"),
        )
    ]
    plot("scaling_fleet", "One Redis, 1.16 rows/s a Mac (simulated)", panels)


if __name__ == "__main__":
    main()
