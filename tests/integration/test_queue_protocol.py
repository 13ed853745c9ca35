"""The Lua steps on a real Redis, one rule of docs/protocol.md a test."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import Any, cast

import pytest
from arq import ArqRedis
from arq.jobs import Job as ArqJob
from redis.exceptions import ConnectionError as RedisConnectionError

from helpers.protocol import LANE, claim_client, claimed_again, finish, release
from helpers.queue_time import let_pass
from helpers.requests import request, requests
from helpers.waiting import PATIENCE, eventually
from windfall import (
    InvalidRequest,
    InvalidRow,
    JobState,
    NotFound,
    Producer,
    WaitTimeout,
    keys,
)
from windfall.batch import BatchState
from windfall.queue import reading
from windfall.wire import job_deserializer
from windfall_worker.jobs.claim import Claim
from windfall_worker.queue.claims import Renewed


async def test_rows_are_claimed_in_the_order_of_the_file(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(600), batch_id="b")
    claims = (await claim_client(redis).claim([LANE], 600)).claims
    assert [claim.job_id for claim in claims] == [f"b:{n}" for n in range(1, 601)]


async def test_high_priority_goes_first_across_lanes_and_low_priority_is_visible(
    producer: Producer, redis: ArqRedis
) -> None:
    low = await producer.enqueue(request(priority=-9))
    normal = await producer.enqueue(request())
    high = await producer.enqueue(request(priority=9, route="local"))
    lanes = [LANE, keys.lane_queue("m", "local")]
    assert [claim.job_id for claim in (await claim_client(redis).claim(lanes, 5)).claims] == [high, normal, low]


async def test_a_claimed_job_is_invisible_until_its_lease_ends_and_then_tells_who_lost_it(
    producer: Producer, redis: ArqRedis
) -> None:
    name = await producer.enqueue(request())
    (first,) = (await claim_client(redis, "w1").claim([LANE], 5)).claims
    second = claim_client(redis, "w2")
    assert (await second.claim([LANE], 5)).claims == ()
    await let_pass(redis, 60)
    (again,) = (await second.claim([LANE], 5)).claims
    assert (again.job_id, again.deliveries) == (name, 2)
    assert [(lost.worker, lost.outcome) for lost in again.attempts()] == [("w1", "lost")]
    assert first.token != again.token


async def test_a_second_claim_passes_over_what_the_first_took(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(6), batch_id="b")
    first = (await claim_client(redis, "w1").claim([LANE], 3)).claims
    second = (await claim_client(redis, "w2").claim([LANE], 3)).claims
    assert [claim.job_id for claim in (*first, *second)] == [f"b:{n}" for n in range(1, 7)]


async def test_a_claim_whose_answer_was_lost_on_the_way_is_answered_again_with_the_same_jobs(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await producer.enqueue_batch(requests(6), batch_id="b")
    worker = claim_client(redis)
    with monkeypatch.context() as patch:
        evalsha = redis.evalsha

        async def cut(*args: Any) -> None:
            await cast(Any, evalsha)(*args)
            raise RedisConnectionError("Connection reset by peer")

        await worker.renew([])  # the script is there, so that it is the claim that is cut
        await worker.claim(["windfall:lane:local:m"], 1)
        patch.setattr(redis, "evalsha", cut)
        with pytest.raises(RedisConnectionError):
            await worker.claim([LANE], 4)
    assert (await producer.batch("b")).running == 4
    again, more = (await worker.claim([LANE], 2)).claims, (await worker.claim([LANE], 4)).claims
    assert [claim.job_id for claim in (*again, *more)] == [f"b:{n}" for n in range(1, 7)]
    assert len({claim.token for claim in (*again, *more)}) == 6
    assert {claim.deliveries for claim in again} == {1}


async def test_a_lost_lease_is_reclaimed_before_a_long_backlog(producer: Producer, redis: ArqRedis) -> None:
    first = await producer.enqueue(request())
    await claim_client(redis, "w1").claim([LANE], 1)
    await producer.enqueue_batch(requests(50))
    await let_pass(redis, 60)
    (claim,) = (await claim_client(redis, "w2").claim([LANE], 1)).claims
    assert claim.job_id == first


async def test_a_result_under_another_token_is_refused_and_the_holders_is_taken_once(
    producer: Producer, redis: ArqRedis
) -> None:
    batch = await producer.enqueue_batch(requests(1))
    (late,) = (await claim_client(redis, "w1").claim([LANE], 1)).claims
    await let_pass(redis, 60)
    (holder,) = (await claim_client(redis, "w2").claim([LANE], 1)).claims
    assert await finish(redis, late, text="late") == b"held"
    assert await finish(redis, holder, text="held") == b"ok"
    assert await finish(redis, late, text="late") == b"finished"
    assert [result.text async for result in producer.results(batch.id)] == ["held"]


async def test_a_late_result_is_taken_when_nobody_holds_the_job(producer: Producer, redis: ArqRedis) -> None:
    batch = await producer.enqueue_batch(requests(1))
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    await release(redis, claim, 60_000, "undo")
    assert await finish(redis, claim) == b"ok"
    status = await producer.batch(batch.id)
    assert (status.completed, status.queued, status.running, status.state) == (1, 0, 0, BatchState.FINISHED)


async def test_a_result_for_a_job_that_is_not_there_is_refused(redis: ArqRedis) -> None:
    ghost = Claim(LANE, "ghost", "w1:0", b"", 1, b"", "", aborted=False)
    assert await finish(redis, ghost) == b"gone"


async def test_a_renewed_lease_holds_and_a_lost_one_is_reported(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue(request())
    owner, other = claim_client(redis, "w1"), claim_client(redis, "w2")
    (claim,) = (await owner.claim([LANE], 1)).claims
    await let_pass(redis, 59)
    assert await owner.renew([claim]) == Renewed([], [], [])
    await let_pass(redis, 30)
    assert (await other.claim([LANE], 1)).claims == ()
    await let_pass(redis, 30)
    assert (await other.claim([LANE], 1)).claims
    assert await owner.renew([claim]) == Renewed([claim.job_id], [], [])


async def test_a_claim_that_redis_forgot_is_taken_up_again_by_its_owners_renewal(
    producer: Producer, redis: ArqRedis
) -> None:
    batch = await producer.enqueue_batch(requests(1))
    owner = claim_client(redis)
    (claim,) = (await owner.claim([LANE], 1)).claims
    # What the last second of an append-only file loses: the claim, not the job.
    await redis.delete(keys.HOLDER + claim.job_id, keys.JOB + claim.job_id)
    await redis.hset(keys.BATCH + batch.id, mapping={"queued": 1, "running": 0})  # type: ignore[misc]
    assert await owner.renew([claim]) == Renewed([], [], [])
    assert (await producer.batch(batch.id)).running == 1
    assert await finish(redis, claim) == b"ok"


async def test_after_an_outage_nobody_reclaims_before_the_owner_had_a_renewal_period(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue(request())
    (claim,) = (await claim_client(redis, "w1").claim([LANE], 1)).claims
    await let_pass(redis, 61, outage=True)  # longer than the lease, and than one and a half renewal periods
    assert (await claim_client(redis, "w2").claim([LANE], 1)).claims == ()
    assert await claim_client(redis, "w1").renew([claim]) == Renewed([], [], [])


async def test_put_back_jobs_return_after_their_delay_and_pay_as_the_reason_says(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue(request())
    worker = claim_client(redis)
    (claim,) = (await worker.claim([LANE], 1)).claims
    assert await release(redis, claim, 60_000, "undo") == b"ok"
    assert (await worker.claim([LANE], 1)).claims == ()
    await let_pass(redis, 60)
    (claim,) = (await claimed_again(redis, worker)).claims
    assert claim.deliveries == 1
    await release(redis, claim, 0, "keep")
    (claim,) = (await claimed_again(redis, worker)).claims
    assert claim.deliveries == 2
    await release(redis, claim, 0, "reset", '[{"backend":"mlx","started_at":1,"outcome":"failed"}]')
    (claim,) = (await claimed_again(redis, worker)).claims
    assert (claim.deliveries, claim.attempts()[0].backend) == (1, "mlx")


async def test_the_claim_says_when_the_next_job_is_due(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue(request())
    worker = claim_client(redis)
    (claim,) = (await worker.claim([LANE], 1)).claims
    await release(redis, claim, 600_000, "undo")
    claimed = await worker.claim([LANE], 1)
    assert claimed.next_due is not None
    assert 600 - PATIENCE < claimed.next_due - claimed.now <= 600


async def test_retry_runs_again_only_what_failed_and_reports_each_row_once(producer: Producer, redis: ArqRedis) -> None:
    batch = await producer.enqueue_batch(requests(3))
    worker = claim_client(redis)
    for claim in (await worker.claim([LANE], 3)).claims:
        await finish(redis, claim, JobState.FAILED if claim.job_id.endswith(":2") else JobState.COMPLETED)
    assert (await producer.batch(batch.id)).state is BatchState.FINISHED
    assert await producer.retry(batch.id) == 1
    assert (await producer.batch(batch.id)).queued == 1
    (claim,) = (await worker.claim([LANE], 3)).claims
    await finish(redis, claim, text="second time")
    seen = [(result.job_id, result.text) async for result in producer.results(batch.id)]
    assert sorted(seen) == [(f"{batch.id}:1", "x"), (f"{batch.id}:2", "second time"), (f"{batch.id}:3", "x")]
    assert await producer.retry(batch.id) == 0


async def test_a_row_that_does_not_parse_is_a_failed_row_of_its_batch(producer: Producer) -> None:
    bad = InvalidRow("bad", 2, InvalidRequest("wrong role", line=2, field="messages.0.role"))
    batch = await producer.enqueue_batch([request(), bad])
    assert (batch.total, batch.failed, batch.queued) == (2, 1, 1)
    result = await producer.result(f"{batch.id}:2")
    assert result is not None
    assert result.error is not None
    assert (result.custom_id, result.error.param) == ("bad", "messages.0.role")
    assert "line 2" in result.error.message


async def test_the_counts_add_up_at_every_instant(producer: Producer, redis: ArqRedis) -> None:
    done = asyncio.Event()

    async def watch() -> int:
        looks = 0
        while not done.is_set():
            fields = await redis.hgetall(keys.BATCH + "b")  # type: ignore[misc]
            counts = {name.decode(): int(value) for name, value in fields.items() if name != b"meta"}
            parts = ("queued", "running", "completed", "failed", "cancelled", "expired")
            assert counts.get("total", 0) == sum(counts.get(part, 0) for part in parts)
            looks += 1
        return looks

    watching = asyncio.create_task(watch())
    submitting = asyncio.create_task(producer.enqueue_batch(requests(2000), batch_id="b"))
    worker = claim_client(redis)
    ended = 0
    while ended < 1000:
        for claim in (await worker.claim([LANE], 50)).claims:
            if ended % 7 == 0:
                await release(redis, claim, 0, "undo")
            else:
                await finish(redis, claim, JobState.FAILED if ended % 5 == 0 else JobState.COMPLETED)
            ended += 1
    await submitting
    await producer.retry("b")
    await producer.cancel("b")
    done.set()
    assert await watching > 10


async def test_results_resume_behind_a_cursor(producer: Producer, redis: ArqRedis) -> None:
    batch = await producer.enqueue_batch(requests(10))
    for claim in (await claim_client(redis).claim([LANE], 10)).claims:
        await finish(redis, claim)
    seen = [pair async for pair in producer.results_with_cursor(batch.id)]
    rest = [result.job_id async for result in producer.results(batch.id, after=seen[6][0])]
    assert rest == [result.job_id for _, result in seen[7:]]


async def test_wait_is_told_and_a_late_one_times_out(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windfall.producer._LOOK_AGAIN", 1000)
    name = await producer.enqueue(request())
    with pytest.raises(WaitTimeout, match=name):
        await producer.wait(name, timeout=0.05)
    look, looks = reading.result, []

    async def counted(*args: Any) -> Any:
        looks.append(await look(*args))
        return looks[-1]

    monkeypatch.setattr(reading, "result", counted)
    waiting = asyncio.create_task(producer.wait(name, timeout=60))
    # It looks when it has subscribed, and again when it hears that it has.
    await eventually(lambda: len(looks) == 2, "two looks")
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    await finish(redis, claim, text="told")
    assert (await waiting).text == "told"


async def test_what_is_not_there_is_not_found(producer: Producer) -> None:
    for looking in (producer.result("no"), producer.wait("no"), producer.batch("no"), producer.cancel("no")):
        with pytest.raises(NotFound, match="'no'"):
            await looking


async def test_stock_abort_does_not_expose_a_running_job_to_a_second_worker(
    producer: Producer, redis: ArqRedis
) -> None:
    name = await producer.enqueue(request())
    owner = claim_client(redis)
    (claim,) = (await owner.claim([LANE], 1)).claims
    job = ArqJob(name, redis, LANE, job_deserializer)
    aborting = asyncio.create_task(job.abort(timeout=60, poll_delay=0.02))
    await eventually(lambda: redis.zscore(keys.ABORT, name))
    assert (await claim_client(redis, "w2").claim([LANE], 1)).claims == ()
    assert (await owner.renew([claim])).aborted == [name]
    await finish(redis, claim, JobState.CANCELLED)
    with pytest.raises(Exception, match="cancelled"):
        await aborting


async def test_a_pickle_in_the_queue_or_in_a_result_is_never_loaded(producer: Producer, redis: ArqRedis) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("a pickle was loaded",))

    await redis.set(keys.RESULT + "evil", pickle.dumps(Bomb()))
    with pytest.raises(Exception, match="not JSON"):
        await producer.result("evil")


async def test_redis_forgetting_its_scripts_is_not_noticed(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue(request())
    await redis.script_flush()
    await producer.enqueue_batch(requests(3))
    await redis.script_flush()
    assert len((await claim_client(redis).claim([LANE], 10)).claims) == 4


async def test_a_queued_row_costs_little_more_than_its_payload(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch((request("x" * 1000) for _ in range(20)), batch_id="warm")
    before = (await redis.info("memory"))["used_memory"]
    count = 4000
    await producer.enqueue_batch((request("x" * 1000) for _ in range(count)), batch_id="b")
    each = ((await redis.info("memory"))["used_memory"] - before) / count
    payload = len(await redis.get(keys.PAYLOAD + "b:1"))
    assert each < payload + 350
    assert json.loads(await redis.get(keys.PAYLOAD + "b:1"))["v"] == 1


async def test_a_dead_letter_keeps_its_request_until_it_is_run_again_or_purged(
    producer: Producer, redis: ArqRedis
) -> None:
    names = [await producer.enqueue(request(f"text {n}")) for n in range(3)]
    for claim in (await claim_client(redis).claim([LANE], 3)).claims:
        await finish(redis, claim, JobState.FAILED)
    letters = {letter.job_id: letter async for letter in producer.dead_letters()}
    assert set(letters) == set(names)
    assert letters[names[1]].request.messages[0].text() == "text 1"
    assert await producer.retry(names[0]) == 1
    assert await producer.purge([names[1]]) == 1
    assert [letter.job_id async for letter in producer.dead_letters()] == [names[2]]
    assert (await producer.dead_letter(names[2])).result.state is JobState.FAILED
    assert await producer.purge() == 1
    with pytest.raises(NotFound, match="dead letter"):
        await producer.dead_letter(names[2])


async def test_a_job_can_be_asked_for_its_state(producer: Producer, redis: ArqRedis) -> None:
    name = await producer.enqueue(request())
    assert await producer.state(name) is JobState.QUEUED
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    assert await producer.state(name) is JobState.RUNNING
    await finish(redis, claim)
    assert await producer.state(name) is JobState.COMPLETED
    with pytest.raises(NotFound):
        await producer.state("no")
