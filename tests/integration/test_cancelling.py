"""Cancelling a job or a batch, whatever has become of it meanwhile."""

from __future__ import annotations

import pytest
from arq import ArqRedis

from helpers.protocol import LANE, claim_client, finish
from helpers.queue_time import let_pass
from helpers.requests import request, requests
from windfall import (
    BatchCancelled,
    JobState,
    Producer,
)
from windfall.batch import BatchState


async def test_cancelling_a_batch_ends_queued_rows_and_tells_the_worker_of_running_ones(
    producer: Producer, redis: ArqRedis
) -> None:
    batch = await producer.enqueue_batch(requests(1200))
    worker = claim_client(redis)
    running = (await worker.claim([LANE], 3)).claims
    assert await producer.cancel(batch.id) == 1200
    status = await producer.batch(batch.id)
    assert (status.cancelled, status.running, status.queued) == (1197, 3, 0)
    assert (await worker.renew(running)).aborted == [claim.job_id for claim in running]
    result = await producer.result(f"{batch.id}:1200")
    assert result is not None
    assert (result.state, result.custom_id) == (JobState.CANCELLED, "c1200")


async def test_a_cancelled_job_of_a_dead_worker_is_handed_out_as_cancelled(producer: Producer, redis: ArqRedis) -> None:
    name = await producer.enqueue(request())
    await claim_client(redis, "w1").claim([LANE], 1)
    assert await producer.cancel(name) == 1
    await let_pass(redis, 60)
    (claim,) = (await claim_client(redis, "w2").claim([LANE], 1)).claims
    assert claim.aborted


async def test_a_cancelled_batch_takes_no_more_rows(producer: Producer) -> None:
    await producer.enqueue_batch(requests(3), batch_id="b")
    await producer.cancel("b")
    with pytest.raises(BatchCancelled):
        await producer.enqueue_batch(requests(10), batch_id="b")
    status = await producer.batch("b")
    assert (status.total, status.state) == (3, BatchState.CANCELLED)


async def test_cancelling_a_finished_batch_changes_nothing(producer: Producer, redis: ArqRedis) -> None:
    batch = await producer.enqueue_batch(requests(1))
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    await finish(redis, claim)
    assert await producer.cancel(batch.id) == 0
    assert (await producer.batch(batch.id)).state is BatchState.FINISHED
