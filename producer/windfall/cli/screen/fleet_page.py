"""The fleet as a page that fits the terminal. Pure rendering: nothing here asks Redis.

In a narrow terminal, columns are dropped in this order: of workers UP, DONE, MEMORY, CHIP, BACKEND, SEEN; of lanes
PARKED, RATE, WAITED, RUNNING; of shared lanes PRIORITY, WAITING, ROUTE, OWNER; of batches RATE, FAILED, OWNER; of
breakers FAILURES. In a low one, the longest list is cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from windfall.batch import BatchState, BatchStatus
from windfall.cli.screen.absent import lost_rows, worker_notes
from windfall.cli.screen.batch_facts import as_json, pace_of
from windfall.cli.screen.console import duration, printable
from windfall.cli.screen.section import Column, Section, Share
from windfall.cli.screen.sharing import sharing_section
from windfall.queue.fleet import FleetStatus, LaneStatus
from windfall.queue.shares import LaneSharer
from windfall.queue.workers import ServedModel, WorkerStatus

if TYPE_CHECKING:
    from windfall_worker.guards.circuit import BreakerStatus

_FEWEST_ROWS, _FEWEST_NOTES = 3, 1
_KEYS: Final = "q or Ctrl-C quits"

_WORKERS: Final = (
    Column("WORKER"), Column("STATE"), Column("MODEL"), Column("BACKEND", drop=5), Column("SLOTS", right=True),
    Column("TOKENS/S", right=True), Column("DONE", right=True, drop=2), Column("CHIP", drop=4),
    Column("MEMORY", right=True, drop=3), Column("SEEN", right=True, drop=6), Column("UP", right=True, drop=1),
)  # fmt: skip
_LANES: Final = (
    Column("LANE"), Column("ROUTE"), Column("QUEUED", right=True), Column("RUNNING", right=True, drop=4),
    Column("PARKED", right=True, drop=1), Column("WAITED", right=True, drop=3), Column("RATE", right=True, drop=2),
    Column("LEFT", right=True),
)  # fmt: skip
_BATCHES: Final = (
    Column("BATCH"), Column("OWNER", drop=3), Column("PROGRESS"), Column("ROWS", right=True),
    Column("FAILED", right=True, drop=2), Column("RATE", right=True, drop=1), Column("LEFT", right=True),
)  # fmt: skip
_BREAKERS: Final = (
    Column("BREAKER"), Column("STATE"), Column("FAILURES", right=True, drop=1), Column("TRY AGAIN IN", right=True),
    Column("COOL-DOWN", right=True),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FleetView:
    """Everything that one look at the fleet found.

    `parked` holds the endpoints that refuse the key or whose account is empty, and in how many seconds one call is
    tried. `paces` are recent rows per second, by batch; `away` says why there is no newer view.
    """

    fleet: FleetStatus
    batches: Sequence[BatchStatus] = ()
    breakers: Sequence[BreakerStatus] = ()
    cooldowns: Mapping[str, float] = field(default_factory=dict)
    paces: Mapping[str, float] = field(default_factory=dict)
    away: str | None = None
    sharers: Sequence[LaneSharer] = ()
    parked: Mapping[str, float] = field(default_factory=dict)

    def missing(self, why: str) -> FleetView:
        """The same view, marked as outdated."""
        return replace(self, away=why)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        lanes = [lane.model_dump(mode="json") | {"eta": lane.eta} for lane in self.fleet.lanes]
        workers = [
            worker.model_dump(mode="json") | {"late": self.fleet.late(worker) is not None}
            for worker in self.fleet.workers
        ]
        return self.fleet.model_dump(mode="json") | {
            "workers": workers,
            "lanes": lanes,
            "sharers": [each.model_dump(mode="json") for each in self.sharers],
            "batches": [as_json(batch) for batch in self.batches],
            "breakers": [asdict(each) for each in self.breakers],
            "cooldowns": dict(self.cooldowns),
            "parked": dict(self.parked),
        }


def page(view: FleetView, width: int, height: int | None = None, *, keys: str = _KEYS) -> RenderableType:
    """The page for a terminal of this size; without a height nothing is cut."""
    parts = sections(view)
    head: list[RenderableType] = [_headline(view)]
    if view.away:
        head.append(Text(printable(view.away), "bold red", no_wrap=True, overflow="ellipsis"))
    if not view.fleet.workers:
        start = "no worker is live; start one with windfall worker --model NAME=PATH"
        head.append(Text(start, "yellow", no_wrap=True, overflow="ellipsis"))
    if height is not None:
        parts = _shortened(parts, height - len(head) - len(_footer(keys)))
    drawn = [line for part in parts for line in (Text(), part.fitted(width))]
    return Group(*head, *drawn, *_footer(keys))


def _footer(keys: str) -> list[Text]:
    return [Text(), Text(keys, "dim", no_wrap=True, overflow="ellipsis")] if keys else []


def sections(view: FleetView) -> list[Section]:
    """The workers, the lanes with jobs, who shares them, the unfinished batches, the breakers; no empty sections."""
    lanes = [lane for lane in view.fleet.lanes if lane.queued or lane.running or lane.parked or lane.paused]
    found = [
        Section(
            _WORKERS,
            [*_worker_rows(view.fleet), *lost_rows(view.fleet)],
            [*worker_notes(view.fleet), *view.fleet.waits()],
        ),
        Section(_LANES, [_lane_row(lane, view.fleet.now) for lane in lanes], _unserved(view.fleet)),
        sharing_section(view.sharers),
        batch_section(view.batches, view.paces),
        Section(_BREAKERS, [_breaker_row(each, view) for each in view.breakers]),
    ]
    return [section for section in found if section.rows]


def batch_section(batches: Sequence[BatchStatus], paces: Mapping[str, float] | None = None) -> Section:
    """The section of the batches alone."""
    return Section(_BATCHES, [_batch_row(batch, (paces or {}).get(batch.id)) for batch in batches])


def _shortened(parts: list[Section], height: int) -> list[Section]:
    """A blank line precedes each section. The longest list, of rows or remarks, is cut first; one line always stays."""
    while sum(part.height + 1 for part in parts) > height:
        rows = [(len(part.rows), index, part.with_fewer_rows) for index, part in enumerate(parts)]
        notes = [(len(part.notes), index, part.with_fewer_notes) for index, part in enumerate(parts)]
        lists = [each for each in rows if each[0] > _FEWEST_ROWS] + [each for each in notes if each[0] > _FEWEST_NOTES]
        if not lists:
            return parts
        # The line that says how many are left out takes one line itself.
        _, index, shortened = max(lists, key=lambda each: each[0])
        parts[index] = shortened()
    return parts


def _headline(view: FleetView) -> Text:
    workers, models = view.fleet.workers, [served for worker in view.fleet.workers for served in worker.models]
    heard = [served for worker in workers if view.fleet.late(worker) is None for served in worker.models]
    slots, running = sum(served.slots for served in models), sum(served.running for served in heard)
    tokens = sum(served.tokens_per_second or 0.0 for served in heard)
    rate = sum(rate for served in heard for rate in served.rates.values())
    facts = ["1 worker" if len(workers) == 1 else f"{len(workers)} workers"]
    if models:
        facts += [f"{running:,} of {slots:,} slots", f"{rate:,.1f} jobs/s"]
        facts += [f"{tokens:,.0f} tokens/s"] if tokens else []
    return Text(" · ".join(["windfall fleet", *facts]), "bold", no_wrap=True, overflow="ellipsis")


def _worker_rows(fleet: FleetStatus) -> list[list[str]]:
    """One row per model; the worker's own facts are in its first."""
    rows = []
    for worker in fleet.workers:
        late = fleet.late(worker) is not None
        about = _about(worker, "late" if late else worker.state, fleet.now)
        for served in worker.models:
            rows.append([*about[:2], *_served(served, known=not late), *about[2:]])
            about = [worker.id, *[""] * (len(about) - 1)]
    return rows


def _about(worker: WorkerStatus, state: str, now: float) -> list[str]:
    memory = f"{worker.memory_bytes / 2**30:,.0f} GiB" if worker.memory_bytes else ""
    seen, up = duration(max(0.0, now - worker.seen_at)), duration(max(0.0, now - worker.started_at))
    return [worker.id, state, f"{worker.completed:,}", worker.chip or "", memory, seen, up]


def _served(served: ServedModel, *, known: bool) -> list[str]:
    """`known`: what it said of its work is recent enough to count."""
    tokens = "" if served.tokens_per_second is None or not known else f"{served.tokens_per_second:,.0f}"
    return [served.name, "+".join(served.backends), f"{served.running if known else '?'}/{served.slots}", tokens]


def _unserved(fleet: FleetStatus) -> list[str]:
    """One line per model; if there are no workers at all, the page already says so."""
    return [f"no live worker serves {model}" for model in fleet.unserved()] if fleet.workers else []


def _lane_row(lane: LaneStatus, now: float) -> list[str]:
    waited = "" if lane.waiting_since is None else duration(max(0.0, now - lane.waiting_since))
    left = "paused" if lane.paused else _left(lane.eta)
    parked = f"{lane.parked:,}" if lane.parked else ""
    about = [lane.model, lane.route.value, f"{lane.queued:,}", f"{lane.running:,}"]
    return [*about, parked, waited, _rate(lane.rate), left]


def _batch_row(batch: BatchStatus, pace: float | None) -> list[str | Share]:
    rate, left = pace_of(batch, pace)
    failed = batch.finished - batch.completed
    state = "paused" if batch.paused else "submitting" if batch.state is BatchState.SUBMITTING else _left(left)
    return [
        batch.id, batch.owner or "", Share(batch.finished, batch.total), f"{batch.finished:,}/{batch.total:,}",
        f"{failed:,}" if failed else "", _rate(rate), state,
    ]  # fmt: skip


def _breaker_row(each: BreakerStatus, view: FleetView) -> list[str]:
    cooldown = view.cooldowns.get(each.name, 0.0)
    if each.name in view.parked:
        return [each.name, "parked", str(each.failures), duration(view.parked[each.name]), ""]
    again = "when closed manually" if each.held else duration(each.retry_after) if each.retry_after else ""
    return [each.name, each.state, str(each.failures), again, duration(cooldown) if cooldown else ""]


def _rate(rate: float | None) -> str:
    return f"{rate:,.1f}/s" if rate else ""


def _left(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)
