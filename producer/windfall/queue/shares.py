"""Who shares a lane, and what share each has, by the weights of owners and of priorities (docs/protocol.md, Order)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from arq import ArqRedis

from windfall import keys
from windfall.errors import InvalidRequest
from windfall.queue.fleet import FleetStatus
from windfall.queue.quarantine import answers, number, readable
from windfall.request import Record, Route

#: Sharers read of one lane, and flows of one owner there: more than anybody looks at.
_MOST: Final = 1000
#: The bounds of an owner's weight, as in flows.lua.
_LEAST, _GREATEST = 0.001, 1000.0
_FLOW: Final = re.compile(r"([^:\s]+):(-?[0-9]{1,3})")
#: What names the jobs of a lane that are in no batch.
SINGLE_JOBS: Final = ""


class LaneSharer(Record):
    """What waits of one batch in one lane, and its share of what is claimed there while all of them wait."""

    model: str
    route: Route
    batch: str  #: "" for the jobs in no batch, which have one share together
    owner: str | None = None  #: whose share it is a part of
    priorities: tuple[int, ...] = ()  #: of its rows that wait
    waiting: int = 0
    share: float  #: 0 to 1


async def set_weight(redis: ArqRedis, owner: str, weight: float) -> None:
    """Give an owner's batches together this weight beside other owners and batches; 1 is that of everybody else.

    Raises `InvalidRequest` for a name or a weight that cannot be.
    """
    name = keys.checked_owner(owner)
    if not _LEAST <= weight <= _GREATEST:
        raise InvalidRequest(f"a weight is a number from {_LEAST:g} to {_GREATEST:g}, not {weight:g}")
    client: Any = redis
    if weight == 1:
        await client.hdel(keys.SHARES, name)
    else:
        await client.hset(keys.SHARES, name, f"{weight:g}")


async def read_weights(redis: ArqRedis) -> dict[str, float]:
    """The weights that were set, by owner."""
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.SHARES)
        (found,) = await answers(redis, pipe, [keys.SHARES])
    names = {raw: keys.name_of(raw) for raw in found or {}}
    return {name: _weight(found[raw]) for raw, name in names.items() if name}


def _weight(raw: bytes | None) -> float:
    """An owner's weight, as flows.lua reads it."""
    try:
        weight = float(raw or b"1")
    except ValueError:
        return 1.0
    return min(max(weight, _LEAST), _GREATEST) if weight > 0 else 1.0


async def read_sharers(redis: ArqRedis, fleet: FleetStatus) -> list[LaneSharer]:
    """Who shares the lanes in which something waits, by lane, the greatest share first."""
    found: list[LaneSharer] = []
    for lane in fleet.lanes:
        if lane.queued:
            sharers = await _of_lane(redis, lane.model, lane.route, fleet.now)
            found += sorted(sharers, key=lambda each: (-each.share, each.batch))
    return found


async def _of_lane(redis: ArqRedis, model: str, route: Route, now: float) -> list[LaneSharer]:
    client: Any = redis
    lane = keys.lane_queue(model, route)
    async with client.pipeline(transaction=False) as pipe:
        pipe.zrange(keys.of_lane(keys.FLOWS, lane), 0, _MOST - 1)
        pipe.zcount(lane, "-inf", round(now * 1000))
        members, alone = await answers(redis, pipe)
    entities = await readable(redis, keys.of_lane(keys.FLOWS, lane), members)
    owners = [entity for entity in entities if ":" not in entity]
    async with client.pipeline(transaction=False) as pipe:
        pipe.hmget(keys.SHARES, "", *owners)  # HMGET needs at least one field; nobody has this name
        for owner in owners:
            pipe.zrange(f"{keys.of_lane(keys.OWNED, lane)}:{owner}", 0, _MOST - 1)
        weights, *owned = await answers(redis, pipe)
    parts = [_Part(SINGLE_JOBS, None, None, 1.0)] if alone else []
    parts += [part for entity in entities if ":" in entity for part in _parts([entity], None, None)]
    given = (weights or [None] * (1 + len(owners)))[1:]
    for owner, weight, rows in zip(owners, given, owned, strict=True):
        parts += _parts([keys.name_of(raw) for raw in rows or ()], owner, _weight(weight))
    waiting = await _waiting(redis, lane, list(dict.fromkeys(part.batch for part in parts)))
    waiting[SINGLE_JOBS] = int(alone or 0)
    return [
        LaneSharer(model=model, route=route, waiting=waiting[batch], batch=batch, **facts)
        for batch, facts in _by_batch(parts).items()
    ]


class _Part(NamedTuple):
    """A flow and its weight, for its owner's flows within the owner's."""

    batch: str
    owner: str | None
    priority: int | None
    weight: float


def _parts(flows: Iterable[str | None], owner: str | None, together: float | None) -> list[_Part]:
    """Flows with the weights of their priorities or, of an owner's, such that they have the owner's weight together."""
    matches = [found for flow in flows if (found := _FLOW.fullmatch(flow or ""))]
    parts = [_Part(found[1], owner, int(found[2]), 2.0 ** max(-9, min(int(found[2]), 9))) for found in matches]
    if together is None or not parts:
        return parts
    total = sum(part.weight for part in parts)
    return [part._replace(weight=together * part.weight / total) for part in parts]


def _by_batch(parts: Sequence[_Part]) -> dict[str, dict[str, Any]]:
    total = sum(part.weight for part in parts)
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        facts = found.setdefault(part.batch, {"owner": part.owner, "share": 0.0, "priorities": ()})
        facts["share"] += part.weight / total
        if part.priority is not None:
            facts["priorities"] = tuple(sorted({*facts["priorities"], part.priority}))
    return found


async def _waiting(redis: ArqRedis, lane: str, batches: Sequence[str]) -> dict[str, int]:
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        for batch in batches:
            pipe.hget(keys.BATCH + batch, keys.of_lane("in:", lane))
        found = await answers(redis, pipe) if batches else []
    return {batch: max(0, number(count)) for batch, count in zip(batches, found, strict=True)}
