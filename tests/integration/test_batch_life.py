"""The life of a batch: deadlines, how long it is kept, deletion."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from arq import ArqRedis

from helpers.batches import in_state, keys_of
from helpers.protocol import LANE, claim_client, finish, finish_some
from helpers.queue_time import let_pass
from helpers.requests import request, requests
from helpers.waiting import eventually
from helpers.workers import simulated, worker
from windfall import (
    BatchCancelled,
    CompletionRequest,
    InvalidRequest,
    InvalidRow,
    JobState,
    NotFound,
    Producer,
    Unfinished,
    keys,
)
from windfall.scripts import Script, run
from windfall_worker.queue.claims import Lease

AN_HOUR = Lease(3_600_000, 18_000)

# Deadlines.


async def test_what_is_not_done_by_the_deadline_expires_without_any_worker_and_the_finished_rows_stay(
    producer: Producer, redis: ArqRedis
) -> None:
    batch = await producer.enqueue_batch(requests(1200), deadline=600)
    assert batch.deadline_at == pytest.approx(batch.created_at + 600)
    done = await finish_some(redis, 3)
    await let_pass(redis, 600)
    status = await in_state(producer, batch.id, expired=1197)
    assert (status.completed, status.queued, status.running, status.done) == (3, 0, 0, True)
    assert status.finished_at is not None
    assert status.finished_at >= status.created_at + 600
    results = {result.job_id: result async for result in producer.results(batch.id)}
    assert len(results) == 1200
    assert all(results[name].ok for name in done)
    late = results[f"{batch.id}:1200"]
    assert (late.state, late.custom_id, late.error and late.error.type) == (
        JobState.EXPIRED,
        "c1200",
        "deadline_exceeded",
    )
    assert await redis.zcard(keys.DEADLINES) == 0
    assert await redis.zcard(LANE) == 0


async def test_a_row_with_an_earlier_deadline_keeps_it_and_a_later_one_gets_the_batchs(producer: Producer) -> None:
    rows = [request(deadline=0.2), request(deadline=900.0), request()]
    batch = await producer.enqueue_batch(rows, deadline=600)
    status = await in_state(producer, batch.id, expired=1)
    assert status.queued == 2
    job = await producer.result(f"{batch.id}:1")
    assert job is not None
    assert job.state is JobState.EXPIRED


async def test_only_jobs_with_a_deadline_pay_for_one(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(10))
    await producer.enqueue(request())
    assert await redis.zcard(keys.DEADLINES) == 0
    await producer.enqueue(request(deadline=60.0, priority=9))
    assert await redis.zcard(keys.DEADLINES) == 1
    await finish_some(redis, 1)
    assert await redis.zcard(keys.DEADLINES) == 0


async def test_waiting_for_an_overdue_job_that_nobody_runs_ends_with_its_expiry(producer: Producer) -> None:
    name = await producer.enqueue(request(deadline=0.1))
    result = await producer.wait(name, timeout=60)
    assert result.state is JobState.EXPIRED


async def test_the_sweep_of_a_worker_that_serves_other_models_expires_jobs_too(
    producer: Producer, redis: ArqRedis
) -> None:
    async with worker(simulated(), redis):
        name = await producer.enqueue(request(model="nobody-serves-this", deadline=0.1))
        await eventually(lambda: redis.exists(keys.RESULT + name), "an expiry by the worker")


async def test_a_running_job_is_left_to_its_worker_unless_that_is_dead(producer: Producer, redis: ArqRedis) -> None:
    batch = await producer.enqueue_batch(requests(2), deadline=600)
    await claim_client(redis, lease=AN_HOUR).claim([LANE], 1)
    await claim_client(redis).claim([LANE], 1)
    await let_pass(redis, 600)
    status = await in_state(producer, batch.id, expired=1)
    assert (status.running, status.queued) == (1, 0)


async def test_many_running_overdue_jobs_do_not_hide_the_queued_ones_behind_them(
    producer: Producer, redis: ArqRedis
) -> None:
    batch = await producer.enqueue_batch(requests(1100), deadline=600)
    await claim_client(redis, lease=AN_HOUR).claim([LANE], 1000)
    await let_pass(redis, 600)
    assert (await in_state(producer, batch.id, expired=100)).running == 1000


async def test_a_late_result_of_an_expired_job_is_refused(producer: Producer, redis: ArqRedis) -> None:
    batch = await producer.enqueue_batch(requests(1), deadline=600)
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    await let_pass(redis, 600)
    await in_state(producer, batch.id, expired=1)
    assert await finish(redis, claim) == b"finished"


async def test_a_failed_row_that_is_run_again_gets_its_deadline_anew(producer: Producer, redis: ArqRedis) -> None:
    batch = await producer.enqueue_batch(requests(1, priority=4), deadline=600)
    await finish_some(redis, 1, JobState.FAILED)
    await let_pass(redis, 700)
    assert await producer.retry(batch.id) == 1
    assert (await producer.batch(batch.id)).queued == 1
    await let_pass(redis, 600)
    await in_state(producer, batch.id, expired=1)


# How long a batch is kept.


async def test_early_results_outlive_a_batch_that_runs_longer_than_results_are_kept(
    producer: Producer, redis: ArqRedis
) -> None:
    batch = await producer.enqueue_batch(requests(2), keep=600)
    await finish_some(redis, 1)
    await let_pass(redis, 900)
    status = await producer.batch(batch.id)
    assert (status.completed, status.queued) == (1, 1)
    assert await producer.result(f"{batch.id}:1") is not None
    await finish_some(redis, 1)
    status = await producer.batch(batch.id)
    assert status.finished_at is not None
    assert status.kept_until == pytest.approx(status.finished_at + 600)
    assert [result.ok async for result in producer.results(batch.id)] == [True, True]


async def test_a_batch_goes_as_a_whole_when_it_is_kept_no_longer(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(1100), batch_id="brief", keep=600)
    await finish_some(redis, 700)
    await finish_some(redis, 400, JobState.FAILED)
    await let_pass(redis, 600)
    await _gone(producer, redis, "brief")


async def _gone(producer: Producer, redis: ArqRedis, batch_id: str) -> None:
    """Look for the batch, which sweeps, until nothing of it is left."""

    async def nothing_left() -> bool:
        try:
            await producer.batch(batch_id)
        except NotFound:
            return not await keys_of(redis, batch_id)
        return False

    await eventually(nothing_left, f"the end of batch {batch_id}")


async def _nothing_of(redis: ArqRedis, batch_id: str) -> bool:
    return not await keys_of(redis, batch_id)


async def test_a_batch_that_is_run_again_is_kept_from_its_new_end(producer: Producer, redis: ArqRedis) -> None:
    batch = await producer.enqueue_batch(requests(2), keep=600)
    await finish_some(redis, 2, JobState.FAILED)
    await producer.retry(batch.id)
    await let_pass(redis, 900)
    assert (await producer.batch(batch.id)).queued == 2


async def test_a_batch_kept_for_ever_is_never_due(producer: Producer, redis: ArqRedis) -> None:
    batch = await producer.enqueue_batch(requests(1), keep=0)
    await finish_some(redis, 1)
    assert await redis.zcard(keys.KEPT) == 0
    assert (await producer.batch(batch.id)).kept_until is None


async def test_a_submission_that_nobody_goes_on_with_goes_when_its_rows_are_kept_no_longer(
    producer: Producer, redis: ArqRedis
) -> None:
    with pytest.raises(RuntimeError):
        await producer.enqueue_batch(cut_off_after_a_chunk(), batch_id="half", keep=600)
    await finish_some(redis, 500)
    await let_pass(redis, 600)

    async def swept() -> bool:
        await producer.result(await producer.enqueue(request()))  # whoever comes by sweeps
        return await _nothing_of(redis, "half:")

    await eventually(swept, "the end of what is left of it")


def cut_off_after_a_chunk() -> Iterator[CompletionRequest]:
    yield from requests(500)
    raise RuntimeError("the laptop's battery is empty")


# Deletion.


async def test_a_deleted_batch_leaves_no_key_behind(producer: Producer, redis: ArqRedis) -> None:
    bad = InvalidRow("bad", 1, InvalidRequest("wrong", line=1))
    rows: list[CompletionRequest | InvalidRow] = [bad, *requests(1200, deadline=600.0, stream=True)]
    await producer.open_batch(batch_id="doomed", source="file")
    await producer.enqueue_batch(rows, batch_id="doomed")
    await finish_some(redis, 700)
    await finish_some(redis, 500, JobState.FAILED)
    assert (await producer.batch("doomed")).done
    await producer.delete("doomed")
    assert await keys_of(redis, "doomed", "file") == set()
    assert [letter async for letter in producer.dead_letters()] == []
    with pytest.raises(NotFound):
        await producer.batch("doomed")
    with pytest.raises(NotFound):
        await producer.delete("doomed")


async def test_an_unfinished_batch_is_deleted_only_when_that_is_asked_for(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(1200, deadline=600.0), batch_id="busy")
    await finish_some(redis, 5)
    owner = claim_client(redis)
    running = (await owner.claim([LANE], 5)).claims
    other = await producer.enqueue(request())
    with pytest.raises(Unfinished, match="busy is unfinished"):
        await producer.delete("busy")
    assert (await producer.batch("busy")).total == 1200
    await producer.delete("busy", cancel=True)
    assert await keys_of(redis, "busy") == set()
    assert [claim.job_id for claim in running] == (await owner.renew(running)).gone
    assert await finish(redis, running[0]) == b"gone"
    assert await producer.state(other) is JobState.QUEUED


async def test_a_worker_stops_what_it_runs_of_a_deleted_batch(producer: Producer, redis: ArqRedis) -> None:
    async with worker(simulated(latency=60, slots=4, drain_timeout=0.1), redis):
        batch = await producer.enqueue_batch(requests(4))
        await in_state(producer, batch.id, running=4)
        await producer.delete(batch.id, cancel=True)
        name = await producer.enqueue(request(deadline=30.0))
        await eventually(lambda: redis.exists(keys.HOLDER + name), "a free slot")
    assert await keys_of(redis, batch.id) == set()


async def test_a_deletion_that_was_cut_off_is_finished_by_whoever_comes_next(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(1200), batch_id="half-gone")
    left = await run(redis, Script.DELETE, [keys.BATCHES], ["half-gone", "any", 100])
    assert left == 1100
    await _gone(producer, redis, "half-gone")


async def test_rows_for_a_batch_that_was_deleted_meanwhile_are_refused(producer: Producer, redis: ArqRedis) -> None:
    async def rows() -> AsyncIterator[CompletionRequest]:
        for number, row in enumerate(requests(2000)):
            if number == 1000:
                await producer.delete("gone", cancel=True)
            yield row

    with pytest.raises(BatchCancelled, match="deleted"):
        await producer.enqueue_batch(rows(), batch_id="gone")
    assert await keys_of(redis, "gone") == set()


async def test_a_cancelled_batch_takes_no_rows_that_cannot_run_either(producer: Producer) -> None:
    await producer.enqueue_batch(requests(2), batch_id="b")
    await producer.cancel("b")
    bad = InvalidRow("bad", 3, InvalidRequest("wrong", line=3))
    with pytest.raises(BatchCancelled):
        await producer.enqueue_batch([*requests(2), bad], batch_id="b")
    assert (await producer.batch("b")).total == 2


async def test_cancelling_reaches_rows_behind_a_gap_that_a_killed_producer_left(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(10), batch_id="b")
    for row in range(1, 8):  # what a chunk of several lanes leaves when only one of them arrived
        await redis.delete(keys.PAYLOAD + f"b:{row}")
        await redis.zrem(LANE, f"b:{row}")
    await redis.hset(keys.BATCH + "b", mapping={"total": 3, "queued": 3})  # type: ignore[misc]  # redis-py's types
    assert await producer.cancel("b") == 3
    assert (await producer.batch("b")).done
