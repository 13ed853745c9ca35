"""For the tests of programs that use Windfall: a `Producer` with an in-process Redis and an in-process worker.

    async with in_memory_producer(lambda request: "Paris") as producer:
        job_id = await producer.enqueue(request)
        assert (await producer.wait(job_id)).text == "Paris"

Needs the `embedded` extra (fakeredis with Lua). It runs the real protocol: the same scripts, keys and messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from arq import ArqRedis

from windfall import keys
from windfall.broker.connection import disconnect
from windfall.embedded.broker import fake_redis
from windfall.fingerprint import fingerprint
from windfall.producer import Producer
from windfall.request import CompletionRequest
from windfall.result import Attempt, Completion, CompletionResult, ErrorInfo, JobState, Timings
from windfall.runtime.tasks import cancel_all
from windfall.scripts import Arg, Script, run
from windfall.translation import in_openai_words
from windfall.wire import decode_job, encode_result

Answer = Callable[[CompletionRequest], "str | Completion"]

#: Seconds between two polls for jobs.
_LOOK: Final = 0.005


def echo(request: CompletionRequest) -> str:
    """Answer with the text of the last message."""
    return in_openai_words(request).messages[-1].text()


@asynccontextmanager
async def in_memory_producer(answer: Answer | None = echo) -> AsyncIterator[Producer]:
    """A producer on its own in-memory Redis, with a worker that answers.

    `answer` returns the text or the `Completion` for each request; an exception that it raises fails that job. None
    leaves every job queued.
    """
    redis = fake_redis()
    answering = asyncio.create_task(_answer_for_ever(redis, answer)) if answer else None
    try:
        async with Producer(redis) as producer:
            yield producer
    finally:
        if answering:
            await cancel_all([answering])
        await disconnect(redis)


async def _answer_for_ever(redis: ArqRedis, answer: Answer) -> None:
    client: Any = redis
    number = 0
    while True:
        lanes = [lane.decode() for lane in await client.smembers(keys.LANES)]
        claim: list[Arg] = ["test", number, 100, 60_000, 20_000, 2**30, "back", 100]
        jobs = (await run(redis, Script.CLAIM, lanes, claim))[2] if lanes else []
        number += len(jobs)
        for lane, name, token, payload, *_ in jobs:
            await _finish(redis, lane.decode(), name.decode(), token, payload, answer)
        await asyncio.sleep(_LOOK)


async def _finish(redis: ArqRedis, lane: str, name: str, token: bytes, payload: bytes, answer: Answer) -> None:
    result = _result(name, payload, answer)
    usage = result.usage
    end: list[Arg] = [name, token, result.state.value, encode_result(result, lane), 0]
    await run(redis, Script.FINISH, [lane], [*end, usage.prompt_tokens, usage.completion_tokens, 0, 0, ""])


def _result(name: str, payload: bytes, answer: Answer) -> CompletionResult:
    job = decode_job(payload)
    at = job.et / 1000
    completion, error = None, None
    try:
        answered = answer(job.request)
        completion = Completion(content=answered) if isinstance(answered, str) else answered
    except Exception as exc:  # noqa: BLE001 - whatever the test raises becomes the job's failure
        error = ErrorInfo(type=type(exc).__name__, message=str(exc))
    return CompletionResult(
        job_id=name,
        state=JobState.FAILED if error else JobState.COMPLETED,
        model=job.request.model,
        custom_id=job.request.custom_id,
        metadata=job.request.metadata,
        fingerprint=fingerprint(job.request),
        completion=completion,
        error=error,
        attempts=(Attempt(backend="test", started_at=at, outcome="failed" if error else "completed", error=error),),
        timings=Timings(enqueued_at=at, started_at=at, finished_at=at),
        backend="test",
    )
