"""Rows in a flow's list that are not claimed from there any more, and the counts of what waits."""

from __future__ import annotations

from typing import Any, cast

from arq import ArqRedis

from helpers.batches import keys_of
from helpers.protocol import LANE, SHORT, claim_client, claimed_again, finish, release
from helpers.requests import request, requests
from helpers.waiting import eventually
from windfall import JobState, Producer, keys
from windfall.batch import BatchState
from windfall.queue.housekeeping import Housekeeping
from windfall.scripts import Script, run
from windfall_worker.jobs.claim import Claim

FAIR = keys.of_lane(keys.FAIR, LANE)
LIST = keys.of_lane(keys.FLOW, LANE) + ":b:0"


async def ids(redis: ArqRedis, want: int) -> list[str]:
    return [claim.job_id for claim in (await claim_client(redis).claim([LANE], want)).claims]


async def waiting(redis: ArqRedis) -> tuple[int, int, int]:
    """The lane's counts of rows that wait and are parked, and the batch's own of the rows that were never claimed."""
    counts = await cast("Any", redis).hmget(FAIR, "waiting", "parked")
    own = await redis.hget(keys.BATCH + "b", "in:auto:m")  # type: ignore[misc]
    return int(counts[0] or 0), int(counts[1] or 0), int(own or 0)


async def counted(producer: Producer) -> None:
    """The lane and the batch agree on how many rows wait."""
    (lane,) = (await producer.fleet()).lanes
    status = await producer.batch("b")
    assert (lane.queued + lane.parked, lane.running) == (status.queued, status.running)


async def forget_claim(redis: ArqRedis, claim: Claim) -> None:
    """What Redis loses with the last second of its append-only file: the claim of the row that was taken last."""
    await redis.delete(keys.HOLDER + claim.job_id, keys.JOB + claim.job_id)
    await redis.zrem(LANE, claim.job_id)
    await redis.zrem(LANE + keys.HELD_SUFFIX, claim.job_id)
    await redis.lpush(LIST, claim.job_id.rpartition(":")[2])  # type: ignore[misc]
    for field, by in (("queued", 1), ("running", -1), ("in:auto:m", 1)):
        await redis.hincrby(keys.BATCH + "b", field, by)  # type: ignore[misc]
    await redis.hincrby(FAIR, "waiting", 1)  # type: ignore[misc]
    await redis.zadd(keys.of_lane(keys.FLOWS, LANE), {"b:0": 0})


async def test_rows_that_were_cancelled_while_they_waited_are_passed_over(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(10), batch_id="b")
    for row in (2, 3, 9):
        assert await producer.cancel(f"b:{row}") == 1
    assert await waiting(redis) == (7, 0, 7)
    await counted(producer)
    assert await ids(redis, 10) == [f"b:{row}" for row in (1, 4, 5, 6, 7, 8, 10)]
    assert await waiting(redis) == (0, 0, 0)
    await counted(producer)


async def test_thousands_of_them_hold_nobody_up_for_long(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(3000, deadline=0.001), batch_id="b")
    await Housekeeping(redis, producer._clock, 0).sweep()
    assert (await producer.batch("b")).state is BatchState.FINISHED
    assert await redis.exists(LIST, keys.of_lane(keys.FLOWS, LANE)) == 0  # whose batch has ended has no flows
    assert await waiting(redis) == (0, 0, 0)
    await producer.enqueue_batch([*requests(2999, deadline=0.001), request("last")], batch_id="c")
    await Housekeeping(redis, producer._clock, 0).sweep()
    worker, calls, claimed = claim_client(redis), 1, await claim_client(redis, "w").claim([LANE], 1)
    while not claimed.claims:
        assert claimed.next_due is not None
        assert claimed.next_due <= claimed.now
        claimed, calls = await worker.claim([LANE], 1), calls + 1
    assert (claimed.claims[0].job_id, calls <= 7) == ("c:3000", True)


async def test_a_row_whose_claim_redis_lost_and_whose_owner_is_back_is_not_claimed_from_its_list(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(3), batch_id="b")
    owner = claim_client(redis)
    (claim,) = (await owner.claim([LANE], 1)).claims
    await forget_claim(redis, claim)
    await counted(producer)
    assert (await owner.renew([claim])).lost == []
    await counted(producer)
    assert await waiting(redis) == (2, 0, 2)
    assert await ids(redis, 5) == ["b:2", "b:3"]
    assert await finish(redis, claim) == b"ok"
    await counted(producer)


async def test_nor_is_one_whose_owner_has_sent_its_result_late(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(3), batch_id="b")
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    await forget_claim(redis, claim)
    assert await finish(redis, claim) == b"ok"
    assert await waiting(redis) == (2, 0, 2)
    await counted(producer)
    assert await ids(redis, 5) == ["b:2", "b:3"]


async def test_one_that_another_claimed_meanwhile_is_lost_for_its_owner(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(1), batch_id="b")
    owner = claim_client(redis)
    (claim,) = (await owner.claim([LANE], 1)).claims
    await forget_claim(redis, claim)
    assert await ids(redis, 1) == ["b:1"]
    assert (await owner.renew([claim])).lost == ["b:1"]
    await counted(producer)


async def test_a_batch_id_that_is_used_again_brings_back_none_of_the_old_rows(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(1200), batch_id="b")
    await ids(redis, 5)
    await producer.pause("batch", "b")
    await producer.delete("b", cancel=True)
    assert await keys_of(redis, "b:", ":b") == set()
    assert await waiting(redis) == (0, 0, 0)
    await producer.enqueue_batch(requests(2), batch_id="b")
    assert await ids(redis, 10) == ["b:1", "b:2"]
    await counted(producer)


async def test_a_deletion_that_was_cut_off_leaves_no_row_to_be_claimed(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(1200), batch_id="b")
    await run(redis, Script.DELETE, [keys.BATCHES], ["b", "any", 100])
    assert await ids(redis, 10) == []
    assert await waiting(redis) == (0, 0, 0)
    await Housekeeping(redis, producer._clock, 0).sweep()
    assert await keys_of(redis, "b:", ":b") == set()


async def test_a_row_that_failed_and_is_retried_comes_once(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(2), batch_id="b")
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    await forget_claim(redis, claim)
    await finish(redis, claim, JobState.FAILED)  # its number is in the list again
    assert await producer.retry("b") == 1
    assert await ids(redis, 5) == ["b:1", "b:2"]
    assert await ids(redis, 5) == []
    await counted(producer)


async def test_submitting_a_batch_again_puts_no_row_into_a_list_twice(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(5), batch_id="b")
    await producer.enqueue_batch(requests(8), batch_id="b")
    assert await redis.llen(LIST) == 8  # type: ignore[misc]
    assert await ids(redis, 20) == [f"b:{row}" for row in range(1, 9)]


async def test_cancelling_a_batch_leaves_nothing_to_claim_from_its_first_step_on(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(1200), batch_id="b")
    await run(redis, Script.CANCEL_BATCH, [keys.BATCH + "b"], ["begin"])
    assert await ids(redis, 5) == []
    await counted(producer)
    assert await producer.cancel("b") == 1200
    assert await waiting(redis) == (0, 0, 0)
    assert await redis.exists(LIST, keys.SHELVED) == 0
    await counted(producer)


async def test_a_cancelled_batch_that_is_no_longer_to_be_cancelled_has_its_flows_back(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(3), batch_id="b")
    await run(redis, Script.CANCEL_BATCH, [keys.BATCH + "b"], ["begin"])
    await redis.hdel(keys.BATCH + "b", "cancel")  # type: ignore[misc]
    await Housekeeping(redis, producer._clock, 0).sweep()
    assert await ids(redis, 5) == ["b:1", "b:2", "b:3"]


async def test_a_batch_that_an_earlier_version_paused_and_resumed_waits_and_comes_back(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(3), batch_id="b")
    await redis.sadd(keys.PAUSED, keys.BATCH + "b")  # type: ignore[misc]
    assert await ids(redis, 5) == []
    await counted(producer)
    await redis.srem(keys.PAUSED, keys.BATCH + "b")  # type: ignore[misc]
    await Housekeeping(redis, producer._clock, 0).sweep()
    assert await ids(redis, 5) == ["b:1", "b:2", "b:3"]


async def test_the_counts_of_lane_and_batch_agree_whatever_becomes_of_the_rows(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(60, deadline=600.0), batch_id="b")
    worker = claim_client(redis)
    for number, claim in enumerate((await worker.claim([LANE], 30)).claims):
        if number % 3 == 0:
            await release(redis, claim, 0, "undo")
        elif number % 3 == 1:
            await finish(redis, claim, JobState.FAILED)
        await counted(producer)
    await producer.pause("batch", "b")
    await ids(redis, 20)
    await counted(producer)
    for row in range(20, 50):
        await producer.cancel(f"b:{row}")
    await counted(producer)
    await producer.retry("b")
    await counted(producer)
    await producer.resume("batch", "b")
    await counted(producer)
    while (claimed := await worker.claim([LANE], 7)).claims:
        for claim in claimed.claims:
            await finish(redis, claim)
        await counted(producer)
    assert await waiting(redis) == (0, 0, 0)


async def test_a_lost_lease_comes_back_though_its_number_left_the_list(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(2), batch_id="b")
    await claim_client(redis, "dead", SHORT).claim([LANE], 1)
    (again,) = (await claimed_again(redis, claim_client(redis, "w2"), 1)).claims
    if again.job_id == "b:2":  # the lease had not ended yet

        async def back() -> bool:
            return await ids(redis, 1) == ["b:1"]

        await eventually(back, "the lost row")
    await counted(producer)


async def test_strange_members_of_an_index_stop_nobody(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(2), batch_id="b")
    flows = keys.of_lane(keys.FLOWS, LANE)
    for name in (b"\xff\xfe", b"", b"a b", b"x:99", b"nosuch:0", b"nobody", b"b:0:0", b"b:-100"):
        await redis.zadd(flows, {name: -5})
    await redis.lpush(LIST, b"\xff", "0", "-1", "999", "1e3", "")  # type: ignore[misc]
    await redis.hset(FAIR, mapping={"clock": "nan", "waiting": "x", "arq": "1e400"})  # type: ignore[misc]
    assert await ids(redis, 2) == ["b:1", "b:2"]
    assert await redis.exists(flows) == 0
