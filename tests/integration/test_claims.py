"""What one claim takes, what its jobs have spent when nobody read its answer, and when a claim has ended."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from arq import ArqRedis
from redis.exceptions import ConnectionError as RedisConnectionError

from helpers.batches import in_state
from helpers.protocol import LANE, SHORT, claim_client, claimed_again, finish, release
from helpers.requests import request, requests
from helpers.waiting import eventually
from helpers.workers import hold_jobs, simulated, worker
from windfall import JobState, Producer, keys
from windfall_worker.jobs.claim import Claim
from windfall_worker.queue.claims import ClaimClient, Lease, Renewed

MEBIBYTE = 2**20


def large(count: int, mebibytes: float) -> list[Any]:
    return [request("x" * int(mebibytes * MEBIBYTE)) for _ in range(count)]


async def test_a_claim_takes_no_more_than_four_mebibytes_and_one_row_at_least(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch([*large(5, 1.5), *large(2, 6), *large(1, 0.1)], batch_id="b")
    by = claim_client(redis)
    taken = []
    for _ in range(5):
        claimed = await by.claim([LANE], 8)
        taken.append(([int(claim.job_id[2:]) for claim in claimed.claims], claimed.cut))
    assert taken == [([1, 2], True), ([3, 4], True), ([5], True), ([6], True), ([7], True)]
    assert [claim.deliveries for claim in (await by.claim([LANE], 8)).claims] == [1]
    assert (await producer.batch("b")).running == 8


async def test_large_rows_fill_all_slots_of_a_worker(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = hold_jobs(monkeypatch)
    monkeypatch.setattr("windfall_worker.queue.claiming._IDLE_POLL", 1000)
    await producer.enqueue_batch(large(6, 2.5), batch_id="b")

    async def all_run() -> bool:
        return (await producer.batch("b")).running == 6

    async with worker(simulated(0.001, slots=6, lease=3000), redis):
        await eventually(all_run, "six running rows")
        ended.set()


class LosesAnswers(ClaimClient):
    """A worker to which no answer to a claim comes."""

    async def claim(self, lanes: Any, want: int, **limits: Any) -> Any:
        evalsha = self._redis.evalsha

        async def cut(*args: Any) -> None:
            await cast(Any, evalsha)(*args)
            raise RedisConnectionError("Connection reset by peer")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self._redis, "evalsha", cut)
            with pytest.raises(RedisConnectionError):
                await super().claim(lanes, want, **limits)


async def lose(redis: ArqRedis, worker_id: str, name: str) -> None:
    """Claim this job once its lease has ended, and never learn of it."""
    unlucky = LosesAnswers(redis, worker_id, SHORT)
    held = await redis.get(keys.HOLDER + name)

    async def taken() -> bool:
        await unlucky.claim([LANE], 1)
        return bool(await redis.get(keys.HOLDER + name) != held)

    await eventually(taken, "a claim of the job")


async def test_a_claim_whose_answer_nobody_read_costs_its_job_no_delivery(producer: Producer, redis: ArqRedis) -> None:
    name = await producer.enqueue(request())
    await claim_client(redis).renew([])
    await claim_client(redis).claim(["windfall:lane:local:m"], 1)  # the scripts are there
    for n in range(5):
        await lose(redis, f"unlucky{n}", name)
    reader = claim_client(redis, "reader", SHORT)
    (claim,) = (await claimed_again(redis, reader)).claims
    assert claim.deliveries == 1
    (line,) = claim.attempts()
    assert (line.worker, line.outcome) == ("unlucky4", "lost")
    assert line.moved_on is not None
    assert "no delivery spent" in line.moved_on


async def test_a_large_row_whose_answers_nobody_reads_comes_alone(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(large(1, 1), batch_id="b")
    await claim_client(redis).renew([])
    await claim_client(redis).claim(["windfall:lane:local:m"], 1)  # the scripts are there
    for n in range(4):
        await lose(redis, f"unlucky{n}", "b:1")

    async def lease_has_ended() -> bool:
        seconds, microseconds = await redis.time()
        return bool(await redis.zscore(LANE + keys.HELD_SUFFIX, "b:1") < 1000 * seconds + microseconds / 1000)

    await eventually(lease_has_ended, what="the end of the last lease")
    await producer.enqueue_batch(requests(20), batch_id="small")
    claimed = await claimed_again(redis, claim_client(redis, "alone"), 2)
    assert ([claim.job_id for claim in claimed.claims], claimed.cut) == (["b:1"], True)
    assert claimed.claims[0].deliveries == 1


async def test_rows_of_an_answer_that_nobody_reads_are_taken_out_of_it(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(large(3, 1), batch_id="b")
    await claim_client(redis).renew([])
    await claim_client(redis).claim(["windfall:lane:local:m"], 1)
    unlucky = LosesAnswers(redis, "unlucky", Lease(60_000, 18_000))
    for _ in range(4):
        await unlucky.claim([LANE], 3)
    assert (await producer.batch("b")).running == 1
    others = (await claim_client(redis, "w2").claim([LANE], 2)).claims
    assert [(claim.job_id, claim.deliveries, claim.kept_back) for claim in others] == [("b:2", 1, 0)]


async def test_a_row_that_no_link_brings_fails_in_the_end_with_a_sentence(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch([*large(1, 1), *requests(20)], batch_id="b")
    await claim_client(redis).renew([])
    await claim_client(redis).claim(["windfall:lane:local:m"], 1)
    unlucky = LosesAnswers(redis, "unlucky", SHORT)
    for _ in range(21):
        await unlucky.claim([LANE], 1)  # the same worker asks for the same answer again
    async with worker(simulated(0.001), redis):
        await in_state(producer, "b", completed=20, failed=1)
    result = await producer.result("b:1")
    assert result is not None
    assert result.error is not None
    assert result.error.type == "too_large_for_link"
    assert "1,04" in result.error.message
    assert (await producer.dead_letter("b:1")).request is not None


async def test_a_claim_that_was_read_costs_a_delivery_though_its_worker_says_nothing_more(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue(request())
    await claim_client(redis, "w1", SHORT).claim([LANE], 1)

    async def told() -> bool:
        return not await redis.keys(keys.ANSWER + "*")

    await eventually(told, "the word that the answer was read")
    (claim,) = (await claimed_again(redis, claim_client(redis, "w2"))).claims
    assert claim.deliveries == 2
    assert "may have been paid for" in str(claim.attempts()[0].moved_on)


async def test_a_renewal_says_that_the_answer_was_read_where_that_word_was_lost(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: Any) -> None:
        raise RedisConnectionError("Connection reset by peer")

    await producer.enqueue(request())
    owner = claim_client(redis, "w1", SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(redis, "delete", lost)
        (claim,) = (await owner.claim([LANE], 1)).claims
        await asyncio.sleep(0)
        await owner.renew([claim])
    (claim,) = (await claimed_again(redis, claim_client(redis, "w2"))).claims
    assert claim.deliveries == 2


async def test_a_worker_that_ends_leaves_no_confirmation_under_way(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def slow(*_: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(ClaimClient, "_confirm_read", slow)
    async with worker(simulated(), redis):
        assert (await producer.wait(await producer.enqueue(request()), timeout=60)).ok
        assert begun.is_set()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "claim confirmation"]


async def put_back(producer: Producer, redis: ArqRedis, count: int) -> None:
    batch = await producer.enqueue_batch(requests(count), batch_id="back")
    for claim in (await claim_client(redis).claim([LANE], batch.total)).claims:
        await release(redis, claim, 0, "undo")


async def test_what_comes_back_takes_at_most_half_of_a_claim_while_new_rows_wait(
    producer: Producer, redis: ArqRedis
) -> None:
    await put_back(producer, redis, 40)
    await producer.enqueue_batch(requests(10), batch_id="new")
    claims = (await claim_client(redis).claim([LANE], 8)).claims
    assert [claim.job_id[:3] for claim in claims] == ["bac"] * 4 + ["new"] * 4
    rest = (await claim_client(redis, "w2").claim([LANE], 20)).claims
    assert sum(claim.job_id.startswith("new") for claim in rest) == 6
    assert len(rest) == 20


async def test_nor_does_it_starve_new_rows_of_a_worker_with_one_slot(producer: Producer, redis: ArqRedis) -> None:
    await put_back(producer, redis, 40)
    await producer.enqueue_batch(requests(10), batch_id="new")
    by = claim_client(redis)
    taken = [(await by.claim([LANE], 1)).claims[0].job_id[:3] for _ in range(6)]
    assert taken == ["bac", "new"] * 3


async def test_large_rows_that_come_back_do_not_fill_every_claim(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(large(2, 3), batch_id="back")
    by = claim_client(redis)
    for _ in range(2):
        (claim,) = (await by.claim([LANE], 4)).claims
        await release(redis, claim, 0, "undo")
    await producer.enqueue_batch(requests(2), batch_id="new")
    taken = [claim.job_id[:3] for _ in range(2) for claim in (await by.claim([LANE], 4)).claims]
    assert taken.count("new") == 2


async def queued(redis: ArqRedis, name: str) -> bool:
    return not await redis.exists(keys.HOLDER + name)


async def test_a_renewal_that_comes_after_a_release_sent_later_does_not_take_the_job_up_again(
    producer: Producer, redis: ArqRedis
) -> None:
    batch = await producer.enqueue_batch(requests(1))
    owner = claim_client(redis)
    (claim,) = (await owner.claim([LANE], 1)).claims
    await release(redis, claim, 0, "undo")
    assert await owner.renew([claim]) == Renewed([claim.job_id], [], [])
    assert await queued(redis, claim.job_id)
    (again,) = (await claim_client(redis, "w2").claim([LANE], 1)).claims
    assert (again.deliveries, again.attempts()) == (1, ())
    status = await producer.batch(batch.id)
    assert (status.queued, status.running) == (0, 1)


async def test_nor_one_that_comes_after_a_whole_turn_of_another_worker(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue(request())
    owner, other = claim_client(redis), claim_client(redis, "w2")
    (claim,) = (await owner.claim([LANE], 1)).claims
    await release(redis, claim, 0, "undo")
    (theirs,) = (await other.claim([LANE], 1)).claims
    await release(redis, theirs, 0, "undo")
    assert (await owner.renew([claim])).lost == [claim.job_id]
    assert await queued(redis, claim.job_id)


async def test_nor_one_that_comes_after_the_job_failed_and_was_run_again(producer: Producer, redis: ArqRedis) -> None:
    name = await producer.enqueue(request())
    owner = claim_client(redis)
    (claim,) = (await owner.claim([LANE], 1)).claims
    await finish(redis, claim, JobState.FAILED)
    await producer.retry(name)
    assert (await owner.renew([claim])).lost == [name]
    assert await queued(redis, name)


async def test_a_claim_that_redis_forgot_is_taken_up_though_it_knows_of_earlier_ones(
    producer: Producer, redis: ArqRedis
) -> None:
    batch = await producer.enqueue_batch(requests(1))
    owner = claim_client(redis)
    (first,) = (await owner.claim([LANE], 1)).claims
    await release(redis, first, 0, "undo")
    known = await redis.hgetall(keys.JOB + first.job_id)  # type: ignore[misc]
    (second,) = (await owner.claim([LANE], 1)).claims
    await forget(redis, second, known, batch.id)
    assert await owner.renew([second]) == Renewed([], [], [])
    assert await redis.get(keys.HOLDER + second.job_id) == second.token.encode()


async def forget(redis: ArqRedis, claim: Claim, known: dict[bytes, bytes], batch_id: str) -> None:
    """What the last second of an append-only file loses: the claim, not the job."""
    await redis.delete(keys.HOLDER + claim.job_id, keys.JOB + claim.job_id)
    await redis.hset(keys.JOB + claim.job_id, mapping=known)  # type: ignore[misc]
    await redis.hset(keys.BATCH + batch_id, mapping={"queued": 1, "running": 0})  # type: ignore[misc]
