"""What stands in Redis of a batch: its counts, and its keys."""

from __future__ import annotations

from arq import ArqRedis

from helpers.waiting import eventually
from windfall import BatchStatus, Producer


async def in_state(producer: Producer, batch_id: str, **counts: int) -> BatchStatus:
    """The batch, once it has these counts."""

    async def reached() -> BatchStatus | None:
        status = await producer.batch(batch_id)
        return status if all(getattr(status, name) == count for name, count in counts.items()) else None

    found: BatchStatus = await eventually(reached, f"{counts} of batch {batch_id}")
    return found


async def keys_of(redis: ArqRedis, *parts: str) -> set[str]:
    """Every key that has one of these parts in its name, or in a member of a sorted set."""
    found = set()
    async for key in redis.scan_iter(count=1000):
        name = key.decode()
        members = await redis.zrange(key, 0, -1) if await redis.type(key) == b"zset" else []
        if any(part in text for part in parts for text in (name, *(member.decode() for member in members))):
            found.add(name)
    return found
