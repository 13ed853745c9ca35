"""Who shares a lane: its flows and their owners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arq import ArqRedis

from windfall import keys
from windfall.queue.quarantine import answers


async def first_rows(redis: ArqRedis, lanes: Sequence[str]) -> dict[str, str]:
    """The job id of the row in each lane's flows that is claimed next; lanes without one are left out."""
    entities = {lane: top[0] for lane, top in (await _tops(redis, keys.FLOWS, lanes)).items()}
    owned = [f"{lane}:{entity}" for lane, entity in entities.items() if ":" not in entity]
    of_owners = await _tops(redis, keys.OWNED, owned)
    flows = {
        lane: entity if ":" in entity else of_owners.get(f"{lane}:{entity}", ("",))[0]
        for lane, entity in entities.items()
    }
    flows = {lane: flow for lane, flow in flows.items() if flow}
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        for lane, flow in flows.items():
            pipe.lindex(f"{keys.of_lane(keys.FLOW, lane)}:{flow}", 0)
        rows = await answers(redis, pipe) if flows else []
    firsts = {
        lane: f"{flow.rpartition(':')[0]}:{(keys.name_of(row) or '')}"
        for (lane, flow), row in zip(flows.items(), rows, strict=True)
        if row
    }
    return {lane: job for lane, job in firsts.items() if keys.batch_of(job)}


async def _tops(redis: ArqRedis, prefix: str, lanes: Sequence[str]) -> dict[str, tuple[str]]:
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        for lane in lanes:
            pipe.zrange(keys.of_lane(prefix, lane), 0, 0)
        found = await answers(redis, pipe) if lanes else []
    names = {lane: keys.name_of(top[0]) for lane, top in zip(lanes, found, strict=True) if top}
    return {lane: (name,) for lane, name in names.items() if name}
