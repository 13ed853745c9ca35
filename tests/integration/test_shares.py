"""What share of a lane each batch has, and the weights of owners."""

from __future__ import annotations

import pytest
from arq import ArqRedis

from helpers.protocol import LANE, claim_client
from helpers.requests import request, requests
from helpers.users import refused
from windfall import InvalidRequest, Producer, keys


async def shares(producer: Producer) -> dict[str, tuple[str | None, tuple[int, ...], int, float]]:
    found = await producer.sharers()
    return {each.batch: (each.owner, each.priorities, each.waiting, round(each.share, 3)) for each in found}


async def test_batches_share_by_priority_and_owners_by_weight(producer: Producer) -> None:
    await producer.enqueue_batch(requests(3), batch_id="plain")
    assert await shares(producer) == {"plain": (None, (0,), 3, 1.0)}
    await producer.enqueue_batch(requests(4), batch_id="urgent", priority=2)
    await producer.enqueue_batch(requests(1), batch_id="one", owner="ann")
    await producer.enqueue_batch(requests(2), batch_id="two", owner="ann", priority=1)
    await producer.enqueue(request())
    await producer.set_weight("ann", 6)
    # plain 1, urgent 4, ann 6 (of which two has 2 thirds), single jobs 1
    assert await shares(producer) == {
        "urgent": (None, (2,), 4, 0.333),
        "two": ("ann", (1,), 2, 0.333),
        "": (None, (), 1, 0.083),
        "one": ("ann", (0,), 1, 0.167),
        "plain": (None, (0,), 3, 0.083),
    }
    assert sum(share for *_, share in (await shares(producer)).values()) == pytest.approx(1, abs=0.01)


async def test_rows_of_several_priorities_and_rows_that_are_claimed_or_paused(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch([request(priority=3), *requests(2)], batch_id="mixed")
    await producer.enqueue_batch(requests(2), batch_id="other")
    assert await shares(producer) == {"mixed": (None, (0, 3), 3, 0.9), "other": (None, (0,), 2, 0.1)}
    await producer.pause("batch", "mixed")
    assert await shares(producer) == {"other": (None, (0,), 2, 1.0)}
    await producer.resume("batch", "mixed")
    await claim_client(redis).claim([LANE], 5)
    assert await shares(producer) == {}


async def test_weights_are_set_listed_and_set_back(producer: Producer, redis: ArqRedis) -> None:
    assert await producer.weights() == {}
    await producer.set_weight("ann", 2.5)
    await producer.set_weight("bob", 0.5)
    assert await producer.weights() == {"ann": 2.5, "bob": 0.5}
    await producer.set_weight("ann", 1)
    assert await producer.weights() == {"bob": 0.5}
    await redis.hset(keys.SHARES, mapping={"eve": "much", "max": "1e9", "min": "-3"})  # type: ignore[misc]
    assert await producer.weights() == {"bob": 0.5, "eve": 1.0, "max": 1000.0, "min": 1.0}
    await redis.set(keys.SHARES, "not a hash")
    assert await producer.weights() == {}


@pytest.mark.parametrize(
    ("owner", "weight"), [("a:b", 2), ("", 2), ("ann", 0), ("ann", -1), ("ann", float("nan")), ("ann", 1e6)]
)
async def test_names_and_weights_that_cannot_be_are_refused(producer: Producer, owner: str, weight: float) -> None:
    with pytest.raises(InvalidRequest):
        await producer.set_weight(owner, weight)
    assert await producer.weights() == {}


async def test_what_somebody_wrote_into_an_index_shares_nothing(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(2), batch_id="good")
    index = keys.of_lane(keys.FLOWS, LANE)
    await redis.zadd(index, {b"\xff\xfe": 1, b"good:many": 1, b"nobody": 1, b"b:1:2": 1, b"ann": 2})
    await redis.set(keys.of_lane(keys.OWNED, LANE) + ":ann", "not an index")
    assert await shares(producer) == {"good": (None, (0,), 2, 1.0)}


async def test_the_documented_producer_may_look_and_set(users: dict[str, str], redis_url: str) -> None:
    async with Producer(users["worker"]) as loads, Producer(users["producer"]) as producer:
        await loads.enqueue_batch(requests(2), owner="ann")
        await producer.set_weight("ann", 2)
        assert len(await producer.sharers()) == 1
        assert await producer.weights() == {"ann": 2.0}
    assert refused(redis_url) == []
