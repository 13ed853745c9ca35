"""The public interface as a user types it. `make check` runs mypy --strict over this file; it is never run."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

from arq import ArqRedis

from windfall import (
    BatchState,
    BatchStatus,
    CompletionRequest,
    CompletionResult,
    DeadLetter,
    Delta,
    FleetStatus,
    JobState,
    LaneSharer,
    LaneStatus,
    Limits,
    LostWorker,
    Message,
    Producer,
    Route,
    ServedModel,
    Usage,
    WorkerStatus,
)


def rows() -> Iterator[CompletionRequest]:
    """Requests, however a user makes them."""
    message = Message(role="user", content="hi")
    yield CompletionRequest(model="small", messages=(message,), temperature=0, route=Route.LOCAL, priority=3)


async def more_rows() -> AsyncIterator[CompletionRequest]:
    """The same, as they come."""
    for row in rows():
        yield row


async def use(url: str) -> None:
    """Every public method of `Producer`; a test compares."""
    async with Producer(url, keep=3600, limits=Limits(batch_rows=1000)) as producer:
        assert_type(producer, Producer)
        job_id = await producer.enqueue(next(rows()), interactive=True)
        assert_type(job_id, str)
        assert_type(await producer.state(job_id), JobState)
        assert_type(await producer.result(job_id), CompletionResult | None)
        result = await producer.wait(job_id, timeout=60)
        assert_type(result, CompletionResult)
        assert_type(result.state, JobState)
        assert_type(result.text, str)
        assert_type(result.usage, Usage)
        batch = await producer.open_batch(metadata={"owner": "ann"}, keep=3600.0, deadline=60.0, source="file")
        batch = await producer.enqueue_batch(more_rows(), batch_id="b", keep=0, deadline=9, owner="ann", priority=2)
        assert_type(batch, BatchStatus)
        assert_type(batch.state, BatchState)
        assert_type(await producer.batch(batch.id), BatchStatus)
        assert_type(batch.eta, float | None)
        async for each in producer.results(batch.id, after="0"):
            assert_type(each, CompletionResult)
        assert_type(batch.kept_until, float | None)
        async for each in producer.results(batch.id, order="input", follow=False):
            assert_type(each, CompletionResult)
        async for cursor, each in producer.results_with_cursor(batch.id):
            assert_type((cursor, each), tuple[str, CompletionResult])
        async for delta in producer.stream(job_id):
            assert_type(delta, Delta)
        assert_type(await producer.cancel(batch.id), int)
        assert_type(await producer.retry(batch.id), int)
        assert_type(await producer.pause("lane", "small", route=Route.AUTO), tuple[str, ...])
        assert_type(await producer.resume("batch", batch.id), tuple[str, ...])
        assert_type(await producer.drain("mini"), tuple[str, ...])
        assert_type(await producer.batches(), list[BatchStatus])
        assert_type(await producer.finished_batches(100), list[BatchStatus])
        assert_type(batch.paused, bool)
        assert_type(batch.owner, str | None)
        assert_type(await producer.failures(batch.id), tuple[str, Counter[str]])
        await producer.delete(batch.id, cancel=True)
        async for letter in producer.dead_letters():
            assert_type(letter, DeadLetter)
        letter = await producer.dead_letter(job_id)
        assert_type((letter.request, letter.result), tuple[CompletionRequest, CompletionResult])
        assert_type(await producer.purge([job_id]), int)
        fleet = await producer.fleet()
        assert_type(fleet, FleetStatus)
        assert_type(fleet.lanes, tuple[LaneStatus, ...])
        assert_type(fleet.workers, tuple[WorkerStatus, ...])
        assert_type(fleet.workers[0].models, tuple[ServedModel, ...])
        assert_type(fleet.lost, tuple[LostWorker, ...])
        assert_type(await producer.sharers(), list[LaneSharer])
        await producer.set_weight("ann", 2)
        assert_type(await producer.weights(), dict[str, float])
        assert_type(await producer.info(), dict[str, Any])
        assert_type(producer.redis, ArqRedis)
