"""Pausing and resuming lanes, batches and workers on a real Redis, and what happens to what is paused."""

from __future__ import annotations

import asyncio

import pytest
from arq import ArqRedis

from faults.invariants import watched
from helpers.protocol import LANE, SHORT, claim_client, claimed_again, finish, release
from helpers.queue_time import let_pass
from helpers.requests import request, requests
from helpers.waiting import eventually
from windfall import JobState, NotFound, Producer, Route, keys
from windfall.batch import BatchState
from windfall.queue.housekeeping import Housekeeping
from windfall.scripts import Script, run

LOCAL = keys.lane_queue("m", "local")
#: Ends within a test, and not before the test has come to what is to happen under it.


async def parked(redis: ArqRedis) -> int:
    """How many jobs were claimed before, and wait for their batch to be resumed."""
    count: int = await redis.zcount(LANE + keys.HELD_SUFFIX, keys.PARKED, "+inf")
    return count


async def shelved(redis: ArqRedis) -> int:
    """How many rows were never claimed, and wait for their batch to be resumed."""
    return int(await redis.hget(keys.of_lane(keys.FAIR, LANE), "parked") or 0)  # type: ignore[misc]


async def all_put_back(producer: Producer, redis: ArqRedis, rows: int) -> None:
    """A paused batch of which every row was claimed, put back and parked."""
    await producer.enqueue_batch(requests(rows), batch_id="b")
    for claim in (await claim_client(redis).claim([LANE], rows)).claims:
        await release(redis, claim, 0, "undo")
    await producer.pause("batch", "b")
    while await parked(redis) < rows:
        assert await ids(redis, 1) == []


async def ids(redis: ArqRedis, want: int, lanes: tuple[str, ...] = (LANE,)) -> list[str]:
    return [claim.job_id for claim in (await claim_client(redis).claim(lanes, want)).claims]


# Lanes.


async def test_nothing_is_claimed_from_a_paused_lane_and_nobody_is_told_that_something_is_due(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(3), batch_id="b")
    assert await producer.pause("lane", "m") == ("local", "auto", "cloud")
    claimed = await claim_client(redis).claim([LANE, LOCAL], 3)
    assert (claimed.claims, claimed.next_due) == ((), None)
    assert await producer.resume("lane", "m") == ("local", "auto", "cloud")
    assert len(await ids(redis, 3)) == 3


async def test_one_route_of_a_lane_is_paused_by_itself(producer: Producer, redis: ArqRedis) -> None:
    here, there = await producer.enqueue(request(route="local")), await producer.enqueue(request())
    assert await producer.pause("lane", "m") != ()
    assert await producer.resume("lane", "m", route=Route.LOCAL) == ("local",)
    assert await ids(redis, 5, (LANE, LOCAL)) == [here]
    assert {lane.route.value: lane.paused for lane in (await producer.fleet()).lanes} == {
        "local": False, "auto": True, "cloud": True
    }  # fmt: skip
    assert await producer.resume("lane", "m") == ("auto", "cloud")
    assert await ids(redis, 5, (LANE, LOCAL)) == [there]


async def test_resuming_a_lane_wakes_who_waits_for_it(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue(request())
    await producer.pause("lane", "m")
    channel = redis.pubsub()
    await channel.subscribe(keys.CHANNEL_WAKE + LANE)
    await producer.resume("lane", "m")
    async with asyncio.timeout(60):
        while (await channel.get_message(ignore_subscribe_messages=True, timeout=1)) is None:
            pass
    await channel.aclose()  # type: ignore[no-untyped-call]


async def test_what_was_cancelled_and_lost_with_its_worker_is_ended_though_its_lane_is_paused(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(3), batch_id="b")
    cancelled, _lost = (await claim_client(redis, "w1").claim([LANE], 2)).claims
    await producer.pause("lane", "m")
    assert await producer.cancel(cancelled.job_id) == 1
    await let_pass(redis, 60)
    (ending,) = (await claimed_again(redis, claim_client(redis, "w2"))).claims
    assert (ending.job_id, ending.aborted) == (cancelled.job_id, True)


async def test_a_lane_of_a_model_that_nobody_knows_is_neither_paused_nor_resumed(producer: Producer) -> None:
    await producer.enqueue(request())
    for steer in (producer.pause, producer.resume):
        with pytest.raises(NotFound, match="no lane for model 'n': known are m"):
            await steer("lane", "n")
    assert await producer.resume("lane", "m") == ()


# Batches.


async def test_a_paused_batch_stays_queued_and_comes_back_in_its_order(
    producer: Producer, redis: ArqRedis, redis_url: str
) -> None:
    await producer.enqueue_batch(requests(700), batch_id="b")
    async with watched(redis_url, "b"):
        assert await producer.pause("batch", "b") == ("b",)
        assert await producer.pause("batch", "b") == ()
        assert (await claim_client(redis).claim([LANE], 3)).claims == ()
        status = await producer.batch("b")
        assert (status.queued, status.paused, status.state) == (700, True, BatchState.RUNNING)
        assert await producer.resume("batch", "b") == ("b",)
        assert await producer.resume("batch", "b") == ()
        assert not (await producer.batch("b")).paused
        assert await ids(redis, 700) == [f"b:{n}" for n in range(1, 701)]
    assert await redis.zcard(LANE + keys.HELD_SUFFIX) == 700
    assert await redis.exists(keys.PAUSED, keys.RESUMING) == 0


async def test_behind_twenty_thousand_rows_of_a_paused_batch_another_is_served_at_once(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(20_000), batch_id="big")
    await producer.pause("batch", "big")
    await producer.enqueue_batch(requests(2), batch_id="small")
    assert await ids(redis, 5) == ["small:1", "small:2"]
    last = await claim_client(redis).claim([LANE], 5)
    assert last.next_due is None or last.next_due > last.now
    (lane,) = (await producer.fleet()).lanes
    assert (lane.queued, lane.running, lane.parked) == (0, 2, 20_000)
    assert (await producer.batch("big")).queued == 20_000


async def test_behind_thousands_of_parked_jobs_another_is_served_within_a_few_calls(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(5_000), batch_id="big")
    for claim in (await claim_client(redis).claim([LANE], 5_000)).claims:
        await release(redis, claim, 0, "undo")
    await producer.pause("batch", "big")
    await producer.enqueue_batch(requests(1), batch_id="small")
    worker, calls, claimed = claim_client(redis), 0, await claim_client(redis, "w0").claim([LANE], 1)
    while not claimed.claims:
        # A worker asks again at once for as long as something is due.
        assert claimed.next_due is not None
        assert claimed.next_due <= claimed.now
        claimed, calls = await worker.claim([LANE], 1), calls + 1
    assert claimed.claims[0].job_id == "small:1"
    assert calls <= 10


async def test_another_batchs_rows_behind_a_paused_one_are_claimed_by_the_same_call(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(300), batch_id="paused")
    await producer.pause("batch", "paused")
    await producer.enqueue_batch(requests(5), batch_id="other")
    assert await ids(redis, 2) == ["other:1", "other:2"]


async def test_what_runs_when_its_batch_is_paused_goes_on_and_what_it_puts_back_is_parked(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(3), batch_id="b")
    worker = claim_client(redis)
    one, two = (await worker.claim([LANE], 2)).claims
    await producer.pause("batch", "b")
    assert (await worker.renew([one, two])).lost == []
    assert await finish(redis, one) == b"ok"
    assert await release(redis, two, 0, "undo") == b"ok"
    assert (await worker.claim([LANE], 2)).claims == ()
    status = await producer.batch("b")
    assert (status.completed, status.queued, status.running) == (1, 2, 0)
    assert (await parked(redis), await shelved(redis)) == (1, 1)
    await producer.resume("batch", "b")
    assert await ids(redis, 5) == ["b:2", "b:3"]  # what comes back goes first, as without a pause


async def test_a_lost_lease_of_a_paused_batch_is_parked_and_its_late_result_is_still_taken(
    producer: Producer, redis: ArqRedis, redis_url: str
) -> None:
    await producer.enqueue_batch(requests(2), batch_id="b")
    async with watched(redis_url, "b"):
        late, dead = (await claim_client(redis, "w1", SHORT).claim([LANE], 2)).claims
        await producer.pause("batch", "b")
        other = claim_client(redis, "w2", SHORT)

        async def both_parked() -> bool:
            assert (await other.claim([LANE], 5)).claims == ()
            return await parked(redis) == 2

        await eventually(both_parked, "both lost jobs being parked")
        assert (await producer.batch("b")).queued == 2
        assert await finish(redis, late) == b"ok"
        await producer.resume("batch", "b")
        (again,) = (await claimed_again(redis, claim_client(redis, "w3"))).claims
        assert (again.job_id, again.deliveries, [lost.worker for lost in again.attempts()]) == (dead.job_id, 2, ["w1"])


async def test_the_owner_of_a_parked_job_that_was_only_late_has_it_back_by_renewing(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(1), batch_id="b")
    owner = claim_client(redis, "w1", SHORT)
    (claim,) = (await owner.claim([LANE], 1)).claims
    await producer.pause("batch", "b")
    other = claim_client(redis, "w2", SHORT)

    async def is_parked() -> bool:
        await other.claim([LANE], 1)
        return await parked(redis) == 1

    await eventually(is_parked, "the job being parked")
    assert (await owner.renew([claim])).lost == []
    status = await producer.batch("b")
    assert (status.running, status.queued, await parked(redis)) == (1, 0, 0)


async def test_a_paused_batch_is_cancelled_with_what_is_parked(
    producer: Producer, redis: ArqRedis, redis_url: str
) -> None:
    await producer.enqueue_batch(requests(30), batch_id="b")
    async with watched(redis_url, "b"):
        (running,) = (await claim_client(redis, "w1").claim([LANE], 1)).claims
        await producer.pause("batch", "b")
        await ids(redis, 5)
        assert await producer.cancel("b") == 30
    await let_pass(redis, 60)
    # The worker of the one that ran died: it goes to another in spite of the pause, and is ended there.
    (ending,) = (await claimed_again(redis, claim_client(redis, "w2"))).claims
    assert (ending.job_id, ending.aborted) == (running.job_id, True)
    assert await finish(redis, ending) == b"ok"
    status = await producer.batch("b")
    assert (status.cancelled, status.completed, status.paused) == (29, 1, False)
    assert await redis.exists(LANE, LANE + keys.HELD_SUFFIX, keys.PAUSED) == 0


async def test_what_is_parked_expires_at_its_deadline_without_a_worker(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(5), batch_id="b", deadline=0.2)
    await producer.pause("batch", "b")
    await ids(redis, 1)

    async def expired() -> bool:
        return (await producer.batch("b")).expired == 5

    await eventually(expired, "five expired rows")
    assert (await producer.batch("b")).state is BatchState.FINISHED
    assert await redis.exists(LANE, LANE + keys.HELD_SUFFIX, keys.PAUSED, keys.DEADLINES) == 0


async def test_deleting_a_paused_batch_leaves_nothing_behind(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(600), batch_id="b")
    await producer.pause("batch", "b")
    await ids(redis, 1)
    await producer.delete("b", cancel=True)
    of_the_lane = {keys.LANES, keys.of_lane(keys.FAIR, LANE)}
    assert {key.decode() async for key in redis.scan_iter()} <= of_the_lane | {keys.PULSE, keys.GRACE}


async def test_rows_may_be_submitted_into_a_paused_batch_and_wait_there(producer: Producer, redis: ArqRedis) -> None:
    batch = await producer.open_batch(batch_id="b")
    await producer.pause("batch", batch.id)
    status = await producer.enqueue_batch(requests(10), batch_id="b")
    assert (status.total, status.queued, status.paused) == (10, 10, True)
    assert await ids(redis, 5) == []
    assert (await producer.enqueue_batch(requests(12), batch_id="b")).total == 12
    await producer.resume("batch", "b")
    assert sorted(await ids(redis, 20)) == sorted(f"b:{n}" for n in range(1, 13))


async def test_what_failed_of_a_paused_batch_and_is_run_again_waits_too(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(2), batch_id="b")
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    await finish(redis, claim, JobState.FAILED)
    await producer.pause("batch", "b")
    assert await producer.retry("b") == 1
    assert await ids(redis, 5) == []
    assert (await parked(redis), await shelved(redis)) == (1, 1)
    await producer.resume("batch", "b")
    assert await ids(redis, 5) == ["b:1", "b:2"]


async def test_what_has_ended_is_paused_no_longer_and_cannot_be_paused(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(1), batch_id="b")
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    await producer.pause("batch", "b")
    await finish(redis, claim)
    assert not (await producer.batch("b")).paused
    assert not await redis.exists(keys.PAUSED)
    with pytest.raises(NotFound, match="batch b has ended: there is nothing left to pause"):
        await producer.pause("batch", "b")
    with pytest.raises(NotFound, match="no batch 'nosuch'"):
        await producer.pause("batch", "nosuch")
    with pytest.raises(NotFound, match="no batch 'nosuch'"):
        await producer.resume("batch", "nosuch")


async def test_a_resumption_that_was_cut_off_is_gone_on_with_by_whoever_sweeps(
    producer: Producer, redis: ArqRedis
) -> None:
    await all_put_back(producer, redis, 900)
    assert await run(redis, Script.RESUME_BATCH, [], ["b", 100, 1]) == [800, 1]
    assert await parked(redis) == 800
    await Housekeeping(redis, producer._clock, 0).sweep()
    assert await parked(redis) == 0
    assert await redis.exists(keys.RESUMING) == 0


async def test_a_batch_that_is_paused_while_it_is_resumed_stays_paused(producer: Producer, redis: ArqRedis) -> None:
    await all_put_back(producer, redis, 400)
    await run(redis, Script.RESUME_BATCH, [], ["b", 100, 1])
    await producer.pause("batch", "b")
    await Housekeeping(redis, producer._clock, 0).sweep()
    assert await parked(redis) == 300
    assert await ids(redis, 1) == []
    assert await parked(redis) == 400


async def test_pauses_and_resumptions_between_claims_lose_nothing_and_run_nothing_twice(
    producer: Producer, redis: ArqRedis, redis_url: str
) -> None:
    await producer.enqueue_batch(requests(1500), batch_id="b")
    await producer.enqueue_batch(requests(200), batch_id="c")
    taken: list[str] = []
    working = True

    async def work(name: str) -> None:
        worker = claim_client(redis, name)
        while working:
            for claim in (await worker.claim([LANE], 7)).claims:
                taken.append(claim.job_id)
                assert await finish(redis, claim) == b"ok"

    async with watched(redis_url, "b"), watched(redis_url, "c"):
        workers = [asyncio.create_task(work(f"w{n}")) for n in range(3)]
        for _ in range(15):
            if (await producer.batch("b")).done:
                break
            await producer.pause("batch", "b")
            await asyncio.sleep(0.02)
            await producer.resume("batch", "b")

        async def all_done() -> bool:
            return (await producer.batch("b")).done and (await producer.batch("c")).done

        await eventually(all_done, "both batches being done")
        working = False
        await asyncio.gather(*workers)
    assert len(taken) == len(set(taken)) == 1700
    assert await redis.zcard(LANE) == 0


async def test_unfinished_batches_are_listed_the_newest_first(producer: Producer, redis: ArqRedis) -> None:
    for name in ("old", "ended", "new"):
        await producer.enqueue_batch(requests(1), batch_id=name)
        await asyncio.sleep(0.002)
    await producer.cancel("ended")
    assert [batch.id for batch in await producer.batches()] == ["new", "old"]
    assert [batch.id for batch in await producer.batches(1)] == ["new"]


async def test_a_batch_that_is_paused_has_no_rate(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(3), batch_id="b")
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    await finish(redis, claim)

    async def rate() -> float | None:
        return (await producer.batch("b")).rate

    await eventually(rate, "a rate")
    await producer.pause("batch", "b")
    assert await rate() is None
    await producer.resume("batch", "b")
    assert await rate()
