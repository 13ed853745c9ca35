"""Redis' clock goes back by ten minutes: leases, and what was put back, end when they would have."""

from __future__ import annotations

from typing import Any

import pytest
from arq import ArqRedis

from helpers.protocol import LANE, claim_client, release
from helpers.requests import requests
from helpers.waiting import eventually
from windfall import Producer, keys
from windfall_worker.queue.claims import Claimed, Lease

BACK = 600_000
SHORT = Lease(1000, 100)


async def go_back(redis: ArqRedis) -> None:
    """The clock of Redis goes on: what it wrote down by it moves ahead, which leaves the two as far apart."""
    client: Any = redis
    for name in (LANE, LANE + keys.HELD_SUFFIX):
        for member, score in await client.zrange(name, 0, -1, withscores=True):
            await client.zincrby(name, BACK if score < keys.PARKED else 0, member)
    await client.incrby(keys.PULSE, BACK)


async def test_the_rows_of_a_dead_worker_come_back_when_their_lease_ends(redis: ArqRedis, redis_url: str) -> None:
    async with Producer(redis_url) as producer:
        await producer.enqueue_batch(requests(3), batch_id="b")
    dead = await claim_client(redis, "dead", SHORT).claim([LANE], 10)
    assert len(dead.claims) == 3
    await go_back(redis)
    other = claim_client(redis, "other", SHORT)

    async def some() -> Claimed | None:
        claimed = await other.claim([LANE], 10)
        return claimed if claimed.claims else None

    found: Claimed = await eventually(some, "the dead worker's rows")
    assert [claim.lost.partition("@")[0] for claim in found.claims] == [claim.token for claim in dead.claims]


async def test_a_live_worker_keeps_its_rows(redis: ArqRedis, redis_url: str) -> None:
    async with Producer(redis_url) as producer:
        await producer.enqueue_batch(requests(3), batch_id="b")
    lease = Lease(60_000, 10_000)
    live, other = claim_client(redis, "live", lease), claim_client(redis, "other", lease)
    held = (await live.claim([LANE], 10)).claims
    await go_back(redis)
    for _ in range(5):
        assert (await other.claim([LANE], 10)).claims == ()
        renewed = await live.renew(held, [])
        assert (renewed.lost, renewed.gone) == ([], [])


@pytest.mark.parametrize("delay_ms", [300, 2 * BACK])
async def test_what_was_put_back_for_later_comes_no_later_than_that(
    redis: ArqRedis, redis_url: str, delay_ms: int
) -> None:
    async with Producer(redis_url) as producer:
        await producer.enqueue_batch(requests(700), batch_id="b")
    worker = claim_client(redis, "w", SHORT)
    claims = (await worker.claim([LANE], 1000)).claims
    for claim in claims:
        await release(redis, claim, delay_ms, "undo")
    client: Any = redis
    before = dict(await client.zrange(LANE + keys.HELD_SUFFIX, 0, -1, withscores=True))
    await go_back(redis)
    for _ in range(2):  # in pages
        await worker.claim([LANE], 1)
    after = dict(await client.zrange(LANE + keys.HELD_SUFFIX, 0, -1, withscores=True))
    assert len(after) == 700
    # But for the time that passed between the last call before and the first one after it.
    assert all(after[name] - before[name] < 60_000 for name in before)
