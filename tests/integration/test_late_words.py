"""Late words: what a worker says of a job that is no longer what it was when it was claimed."""

from __future__ import annotations

from arq import ArqRedis

from helpers.protocol import LANE, claim_client, finish, release
from helpers.queue_time import let_pass
from helpers.requests import request, requests
from windfall import Producer, keys
from windfall.batch import BatchState
from windfall_worker.queue.claims import Lease


async def test_a_renewal_does_not_take_back_a_job_whose_release_is_on_its_way(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue(request())
    owner = claim_client(redis)
    (claim,) = (await owner.claim([LANE], 1)).claims
    await release(redis, claim, 0, "undo")
    renewed = await owner.renew([], releasing=[claim])
    assert (renewed.lost, renewed.gone) == ([], [])
    assert await redis.get(keys.HOLDER + claim.job_id) is None
    (again,) = (await claim_client(redis, "w2").claim([LANE], 1)).claims
    assert (again.deliveries, again.lost) == (1, "")


async def test_a_completion_is_not_given_to_another_job_that_has_its_id_now(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch([request("the old row")], batch_id="b")
    owner = claim_client(redis)
    (claim,) = (await owner.claim([LANE], 1)).claims
    await producer.delete("b", cancel=True)
    await producer.enqueue_batch([request("a new row")], batch_id="b")
    assert (await owner.renew([claim])).gone == ["b:1"]
    assert await finish(redis, claim, text="the old answer") == b"gone"
    assert await producer.result("b:1") is None


async def test_a_cancelled_job_whose_worker_is_gone_ends_without_another(producer: Producer, redis: ArqRedis) -> None:
    batch = await producer.enqueue_batch(requests(1))
    await claim_client(redis, "w1").claim([LANE], 1)
    await let_pass(redis, 60)
    assert await producer.cancel(batch.id) == 1
    assert (await producer.batch(batch.id)).state is BatchState.CANCELLED


async def test_while_owners_have_time_to_come_back_nobody_is_told_to_ask_again_at_once(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue(request())
    beat = Lease(60_000, 120_000)
    await claim_client(redis, "w1", beat).claim([LANE], 1)
    await let_pass(redis, 181, outage=True)  # longer than one and a half renewal periods
    claimed = await claim_client(redis, "w2", beat).claim([LANE], 1)
    assert claimed.claims == ()
    assert claimed.next_due is not None
    assert claimed.next_due - claimed.now > 120
