"""What is done to a batch while somebody else is at it: deleting, running again, expiring, cancelling."""

from __future__ import annotations

from typing import Any

import pytest
from arq import ArqRedis

from helpers.batches import keys_of
from helpers.protocol import LANE, claim_client, finish, finish_some
from helpers.requests import request, requests
from helpers.waiting import eventually
from windfall import BatchCancelled, JobState, NotFound, Producer, keys
from windfall.queue import cancelling, downloading, housekeeping, reading, steering, unfinished
from windfall.scripts import Arg, Script, Step, run, run_all


async def test_retry_runs_each_row_again_once_although_they_go_on_failing(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await producer.enqueue_batch(requests(1200))
    await finish_some(redis, 1200, JobState.FAILED)
    again: list[str] = []

    async def fail_at_once(redis: ArqRedis, steps: list[Step]) -> list[Any]:
        answers = await run_all(redis, steps)
        if len(again) < 5000:
            again.extend(await finish_some(redis, 500, JobState.FAILED))
        return answers

    monkeypatch.setattr(steering, "run_all", fail_at_once)
    assert await producer.retry(batch.id) == 1200
    assert sorted(again) == sorted(f"{batch.id}:{n}" for n in range(1, 1201))


async def test_a_row_in_the_order_of_the_input_that_is_run_again_meanwhile_is_waited_for(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = (await producer.enqueue_batch(requests(3))).id
    first, second, third = (await claim_client(redis).claim([LANE], 3)).claims
    await finish(redis, first)
    await finish(redis, second, JobState.FAILED)
    await finish(redis, third)
    look = reading.batch

    async def looked_at_just_before(redis: ArqRedis, batch_id: str) -> Any:
        status = await look(redis, batch_id)
        await producer.retry(batch_id)
        return status

    monkeypatch.setattr(downloading, "batch", looked_at_just_before)
    found = [pair async for pair in producer.results_with_cursor(name, order="input", follow=False)]
    assert [cursor for cursor, _ in found] == ["1"]
    monkeypatch.undo()
    await finish_some(redis, 1)
    rest = [result.job_id async for result in producer.results(name, order="input", after="1")]
    assert rest == [f"{name}:2", f"{name}:3"]


async def test_between_the_pages_of_a_deletion_nothing_is_run_again_or_added(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(150), batch_id="half-gone")
    await finish_some(redis, 149, JobState.FAILED)
    (running,) = (await claim_client(redis).claim([LANE], 1)).claims
    left = await run(redis, Script.DELETE, [keys.BATCHES], ["half-gone", "any", 100])
    assert left == 50

    with pytest.raises(NotFound):
        await steering.retry(redis, producer._clock, "half-gone")
    assert await steering.retry(redis, producer._clock, "half-gone:120") == 0
    job: list[Arg] = ["half-gone", "half-gone:7", 0, 0, b"{}"]
    assert await run(redis, Script.ENQUEUE, [LANE], job) == -2
    await finish(redis, running)  # ends the batch, and does not put its deletion off
    assert await redis.zscore(keys.KEPT, "half-gone") == 0

    async def gone() -> bool:
        await housekeeping.Housekeeping(redis, producer._clock, 0).sweep()
        return not await keys_of(redis, "half-gone")

    await eventually(gone, "the rest of the deletion")
    with pytest.raises(BatchCancelled, match="deleted"):
        await _add_to_a_deleted_batch(producer, redis)


async def _add_to_a_deleted_batch(producer: Producer, redis: ArqRedis) -> None:
    async def rows() -> Any:
        yield request()
        await run(redis, Script.DELETE, [keys.BATCHES], ["again", "any", 100])
        yield request()

    await producer.enqueue_batch(rows(), batch_id="again")


async def test_a_deletion_that_a_sweep_has_finished_is_no_failure(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await producer.enqueue_batch(requests(1100), batch_id="watched")

    async def with_a_sweep_behind_it(redis: ArqRedis, script: Script, *args: Any) -> Any:
        answer = left = await run(redis, script, *args)
        while left > 0:
            left = await run(redis, script, *args)
        return answer

    monkeypatch.setattr(housekeeping, "run", with_a_sweep_behind_it)
    await producer.delete("watched", cancel=True)
    assert await keys_of(redis, "watched") == set()
    with pytest.raises(NotFound):
        await producer.delete("watched", cancel=True)


@pytest.mark.parametrize("deadline", [None, 3600])
async def test_a_sweep_leaves_a_row_alone_that_was_submitted_anew_after_it_was_read(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch, deadline: float | None
) -> None:
    await producer.enqueue_batch([request("old", deadline=3600)], batch_id="b")
    await redis.zadd(keys.DEADLINES, {"b:1": 1})
    read = unfinished.read_unended

    async def read_just_before(redis: ArqRedis, job_ids: list[str]) -> Any:
        monkeypatch.undo()
        found = await read(redis, job_ids)
        assert [job.job_id for job in found] == ["b:1"]
        await run(redis, Script.DELETE, [keys.BATCHES], ["b", "any", 100])
        await producer.enqueue_batch([request("new", deadline=deadline)], batch_id="b")
        if deadline:
            await redis.zadd(keys.DEADLINES, {"b:1": 1})
        return found

    monkeypatch.setattr(housekeeping, "read_unended", read_just_before)
    await housekeeping.Housekeeping(redis, producer._clock, 0)._expire(["b:1"])
    assert await redis.exists(keys.RESULT + "b:1") == 0
    assert await redis.exists(keys.PAYLOAD + "b:1") == 1


async def test_a_cancel_leaves_a_row_alone_that_was_submitted_anew_after_it_was_read(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await producer.enqueue_batch([request("old")], batch_id="b")
    read = unfinished.read_unended

    async def read_just_before(redis: ArqRedis, job_ids: list[str]) -> Any:
        monkeypatch.undo()
        found = await read(redis, job_ids)
        await producer.delete("b", cancel=True)
        await producer.enqueue_batch([request("new")], batch_id="b")
        return found

    monkeypatch.setattr(cancelling, "read_unended", read_just_before)
    with pytest.raises(NotFound):
        await producer.cancel("b:1")
    assert (await producer.batch("b")).queued == 1


async def test_a_batch_that_is_being_cancelled_is_not_run_again_until_the_cancel_has_ended(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(1200), batch_id="b")
    await finish_some(redis, 3, JobState.FAILED)
    await run(redis, Script.CANCEL_BATCH, [keys.BATCH + "b"], ["begin"])  # and then its process was killed
    for name in ("b", "b:2"):
        with pytest.raises(BatchCancelled, match="b is being cancelled"):
            await producer.retry(name)
    await cancelling.go_on_cancelling(redis, producer._clock, "b", 1000)
    batch = await producer.batch("b")
    assert (batch.failed, batch.cancelled, batch.queued) == (3, 1197, 0)
    assert await producer.retry("b") == 3
