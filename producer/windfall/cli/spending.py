"""What a submission may cost: said before it starts, by what the fleet says of its cloud mappings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Final

from windfall.formats import Overrides
from windfall.queue.fleet import FleetStatus
from windfall.queue.workers import WorkerStatus
from windfall.request import Route

#: How many rows ask for which model and route, of these models; None if that cannot be known in advance.
RowCount = Callable[[Collection[str]], Counter[tuple[str, Route]] | None]

#: Older workers do not say when they take `auto` jobs; their rule was this.
_OLDER: Final = ("backlog", 60.0)


def spending(fleet: FleetStatus, overrides: Overrides, rows: RowCount) -> list[str]:
    """A sentence for each model and route whose rows may be paid for; nothing if none may."""
    paid = fleet.paid()
    if not paid:
        return []
    counts = rows(paid.keys())
    if counts is None:
        route = overrides.route or overrides.usual_route or Route.AUTO
        lanes = [(model, route, "rows") for model in paid if overrides.model in (None, model)]
    else:
        lanes = [(*lane, f"{number:,} row{'' if number == 1 else 's'}") for lane, number in sorted(counts.items())]
    return [_sentence(fleet, *lane) for lane in lanes if lane[1] is not Route.LOCAL]


def _sentence(fleet: FleetStatus, model: str, route: Route, rows: str) -> str:
    target = " or ".join(fleet.paid()[model])
    if route is Route.CLOUD:
        return f"{rows} of {model} {'goes' if rows == '1 row' else 'go'} to {target}, which is paid"
    when = " or ".join(_occasions(fleet, model))
    return f"{rows} of {model} may go to {target}, which is paid, {when}; --route local rules that out"


def _occasions(fleet: FleetStatus, model: str) -> Iterator[str]:
    """When `auto` rows go there, by what the workers with such a mapping say of themselves."""
    workers = [worker for worker in fleet.workers if any(each.name == model and each.paid for each in worker.models)]
    rules = [_rule(worker) for worker in workers]
    after = min(seconds for _, seconds in rules)
    yield f"when no live Mac serves it for {after:g} s" if fleet.serves_locally(model) else "as no live Mac serves it"
    if waits := [seconds for when, seconds in rules if when == "backlog"]:
        yield f"when the next row has waited for {min(waits):g} s"
    if any(each.name == model and each.local for worker in workers for each in worker.models):
        yield "when an engine fails them"


def _rule(worker: WorkerStatus) -> tuple[str, float]:
    if worker.spill is None or worker.spill_after is None:
        return _OLDER
    return worker.spill, worker.spill_after
