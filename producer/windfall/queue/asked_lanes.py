"""In which lanes the rows of a batch, or a job, wait."""

from __future__ import annotations

from typing import Any, Final

from arq import ArqRedis

from windfall import keys
from windfall.errors import WireError
from windfall.queue.quarantine import answers, number
from windfall.request import Route
from windfall.wire import decode_job

Lane = tuple[str, Route]

#: Fields of a batch's hash: how many rows were never claimed in a lane, and its flows there (with a priority behind).
_WAITING, _FLOW = b"in:", b"at:"
#: Bytes of a job that are read: who wants to know why a larger one waits looks at the fleet.
_LONGEST: Final = 1 << 20


async def lanes_of_batch(redis: ArqRedis, batch_id: str) -> dict[Lane, int]:
    """The lanes that its rows were enqueued in, and how many were never claimed there.

    Rows that a version without flows enqueued are not in it.
    """
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.BATCH + batch_id)
        (fields,) = await answers(redis, pipe)
    lanes: dict[Lane, int] = {}
    for field, value in (fields or {}).items():
        flow = field.startswith(_FLOW)
        if flow or field.startswith(_WAITING):
            name = keys.name_of(field[len(_FLOW) :])
            if name and flow:
                name = name.rpartition(":")[0]
            lane = keys.lane_parts(keys.LANE + name) if name else None
            if lane is not None:
                lanes[lane] = lanes.get(lane, 0) + (0 if flow else max(0, number(value)))
    return lanes


async def lanes_of_job(redis: ArqRedis, job_id: str) -> dict[Lane, int]:
    """The lane that an unfinished job asks for; none if its message cannot be read."""
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.getrange(keys.PAYLOAD + job_id, 0, _LONGEST)
        pipe.exists(keys.JOB + job_id)
        payload, claimed = await answers(redis, pipe)
    try:
        request = decode_job(payload or b"").request
    except WireError:
        return {}
    return {(request.model, request.route): int(not claimed)}
