"""The same protocol on fakeredis: for users' tests, and for `run` and `demo` where no redis-server can be had."""

from __future__ import annotations

from helpers.requests import request, requests
from helpers.waiting import eventually
from helpers.workers import simulated, worker
from windfall import CompletionRequest, JobState
from windfall.broker.connection import disconnect
from windfall.embedded.broker import fake_redis
from windfall.producer import Producer
from windfall.testing import in_memory_producer


async def test_a_users_test_gets_the_answers_that_it_gives() -> None:
    async with in_memory_producer(lambda asked: asked.messages[0].text().upper()) as producer:
        assert (await producer.wait(await producer.enqueue(request("abc")), timeout=60)).text == "ABC"
        batch = await producer.enqueue_batch(requests(20))
        texts = {result.text async for result in producer.results(batch.id)}
    assert texts == {f"ROW {n}" for n in range(1, 21)}


async def test_what_the_answer_raises_is_the_failure_of_the_job() -> None:
    def fail(_: CompletionRequest) -> str:
        raise RuntimeError("no idea")

    async with in_memory_producer(fail) as producer:
        result = await producer.wait(await producer.enqueue(request()), timeout=60)
    assert (result.state, result.error and result.error.message) == (JobState.FAILED, "no idea")


async def test_without_an_answer_jobs_stay_queued_and_can_be_cancelled() -> None:
    async with in_memory_producer(None) as producer:
        name = await producer.enqueue(request())
        assert await producer.result(name) is None
        assert await producer.cancel(name) == 1


async def test_a_whole_worker_runs_on_fakeredis() -> None:
    redis = fake_redis()
    async with Producer(redis) as producer, worker(simulated(latency=0.01), redis):
        batch = await producer.enqueue_batch(requests(30, stream=True))
        results = [result async for result in producer.results(batch.id)]
        assert len(results) == 30
        assert "".join([delta.content async for delta in producer.stream(results[0].job_id)]) == results[0].text
        stuck = await producer.enqueue(request(model="other"))
        assert await producer.cancel(stuck) == 1

        async def heartbeat() -> bool:
            return bool((await producer.fleet()).workers)

        await eventually(heartbeat)
    await disconnect(redis)
