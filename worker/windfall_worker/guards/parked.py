"""The parked endpoints as Redis has them: endpoints that refuse a key, or whose account is empty.

This module needs only redis, so that the command line can show and lift them without the worker's dependencies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from redis.asyncio import Redis

from windfall.keys import PARKED_ENDPOINTS
from windfall.scripts import run
from windfall_worker.guards.scripts import guard_script

LIFT: Final = guard_script("parking_lift")


@dataclass(frozen=True, slots=True)
class ParkedEndpoint:
    """An endpoint that is parked: why, and for how many seconds until one call is tried."""

    name: str
    reason: str
    probe_in: float


class _Record(BaseModel):
    reason: str
    since: float
    probe_at: float


async def list_parked(redis: Redis) -> list[ParkedEndpoint]:
    """Every parked endpoint, by name."""
    client: Any = redis
    seconds, micros = await client.time()
    found = []
    for field, raw in (await client.hgetall(PARKED_ENDPOINTS)).items():
        try:
            record = _Record.model_validate_json(raw)
            _, _, name = field.decode().partition(":")
        except (ValidationError, UnicodeDecodeError):
            continue
        probe_in = max(0.0, record.probe_at / 1000 - seconds - micros / 1e6)
        found.append(ParkedEndpoint(name, record.reason, probe_in))
    return sorted(found, key=lambda each: each.name)


async def lift(redis: Redis, name: str) -> bool:
    """Let calls to an endpoint be made again, with every key. Returns whether it was parked."""
    return bool(await run(redis, LIFT, [PARKED_ENDPOINTS], [name, "", "0"], patience=None))
