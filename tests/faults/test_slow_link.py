"""Large rows over a slow link: a claim brings no more of them than come in time."""

from __future__ import annotations

import pytest
from redis.asyncio.connection import parse_url

from faultserver.proxy import Proxy
from helpers.batches import in_state
from helpers.requests import request
from helpers.workers import simulated, worker
from windfall import Producer
from windfall.broker.connection import connect, disconnect

ROWS = 24
MEBIBYTE = 2**20


async def test_large_rows_over_a_slow_link_all_complete(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # All rows in one answer would take three seconds, and an answer is waited for no longer than two.
    monkeypatch.setattr("windfall.broker.connection._ANSWER_WITHIN", 2.0)
    async with Producer(redis_url) as producer:
        rows = [request(f"{n} {'x' * MEBIBYTE}") for n in range(ROWS)]
        await producer.enqueue_batch(rows, batch_id="b")
        with Proxy(parse_url(redis_url)["port"], rate=8 * MEBIBYTE) as link:
            redis = await connect(link.url)
            async with worker(simulated(0.001, slots=ROWS, lease=3), redis):
                await in_state(producer, "b", completed=ROWS)
            await disconnect(redis)
        assert [result.error async for result in producer.results("b") if not result.ok] == []
