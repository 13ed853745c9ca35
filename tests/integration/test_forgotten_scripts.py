"""Redis restarts again and again, and forgets each time the scripts that it was just given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from arq import ArqRedis

from helpers.protocol import LANE, answer, claim_client
from helpers.requests import request
from helpers.waiting import eventually
from windfall import JobState, Producer
from windfall.runtime.tasks import cancel_all
from windfall.scripts import Arg, Script, Step, run
from windfall_worker.queue.outbox import Outbox, PendingStep
from windfall_worker.recorder import SILENT


@pytest.fixture
def forgetful(redis: ArqRedis, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let Redis forget its scripts after each of the next so many times that one is loaded."""
    load: Any = redis.script_load

    def arm(times: int) -> None:
        left = times

        async def load_and_forget(text: str) -> Any:
            nonlocal left
            await load(text)
            if left:
                left -= 1
                await redis.script_flush()

        monkeypatch.setattr(redis, "script_load", load_and_forget)

    return arm


async def test_a_step_is_loaded_again_when_redis_restarts_between_the_loading_and_the_call(
    redis: ArqRedis, forgetful: Callable[[int], None]
) -> None:
    await redis.script_flush()
    forgetful(2)
    assert await run(redis, Script.RENEW, [], [1000, 300]) == [[], [], []]


async def test_a_result_waits_in_the_outbox_until_redis_keeps_its_scripts(
    redis: ArqRedis, forgetful: Callable[[int], None]
) -> None:
    async with Producer(redis) as producer:
        name = await producer.enqueue(request())
        (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
        end: list[Arg] = [name, claim.token, JobState.COMPLETED.value, answer(claim), 60_000, 1, 2, 0, 0, claim.digest]
        await redis.script_flush()
        forgetful(12)
        answers: list[bytes | None] = []
        outbox = Outbox(redis, SILENT)
        delivering = asyncio.create_task(outbox.run())
        outbox.post(PendingStep(Step(Script.FINISH, [LANE], end), name, answers.append))

        async def answered() -> bool:
            return bool(answers)

        await eventually(answered, "an answer to the result")
        await cancel_all([delivering])
        assert answers == [b"ok"]
        assert (await producer.wait(name, timeout=60)).ok
