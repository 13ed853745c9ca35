"""A batch whose id was submitted before: its rows are known again, and nothing is added to another file's."""

from __future__ import annotations

import pytest
from arq import ArqRedis

from helpers.protocol import LANE, claim_client, finish
from helpers.requests import request, requests
from windfall import (
    BatchDiffers,
    InvalidRequest,
    InvalidRow,
    Producer,
)
from windfall.row import Row


async def test_a_batch_submitted_twice_under_one_id_has_each_row_once(producer: Producer) -> None:
    await producer.enqueue_batch(list(requests(700)), batch_id="b")
    again = await producer.enqueue_batch(requests(1000), batch_id="b")
    assert (again.total, again.queued, again.sealed) == (1000, 1000, True)


async def test_rows_are_known_again_as_payloads_as_results_and_as_rejections(
    producer: Producer, redis: ArqRedis
) -> None:
    bad = InvalidRow("bad", 4, InvalidRequest("wrong", line=4))
    rows: list[Row] = [*requests(3), bad]
    await producer.enqueue_batch(rows, batch_id="b")
    (claim,) = (await claim_client(redis).claim([LANE], 1)).claims
    await finish(redis, claim)
    assert (await producer.enqueue_batch([*rows, request("new")], batch_id="b")).total == 5


async def test_large_rows_are_compared_in_little_memory(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [1, 1, 300, 1, 1, 1, 1000, 1000, 1] + [1] * 100
    rows = [request("x" * (size << 10), custom_id=f"c{n}") for n, size in enumerate(sizes)]
    await producer.enqueue_batch(rows[:-1], batch_id="b")
    for claim in (await claim_client(redis).claim([LANE], 3)).claims:
        await finish(redis, claim)
    answers: list[int] = []
    mget = producer.redis.mget

    async def weighed(names: list[str]) -> list[bytes | None]:
        found: list[bytes | None] = await mget(names)
        answers.append(sum(map(len, filter(None, found))))
        return found

    monkeypatch.setattr(producer.redis, "mget", weighed)
    assert (await producer.enqueue_batch(rows, batch_id="b")).total == len(rows)
    assert max(answers) < 1_200_000
    assert len(answers) < 20


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize(
    "edited",
    [
        [request("in front"), *requests(120)],
        [*requests(119), request("changed", custom_id="c120"), request("new")],
        [*requests(119), request("row 120", custom_id="renamed")],
        [*requests(119), request("row 120", custom_id="c120", model="other")],
        [*requests(119), InvalidRow("c120", 120, InvalidRequest("wrong", line=120))],
    ],
)
async def test_a_batch_takes_no_rows_of_a_file_that_was_edited(
    producer: Producer, redis: ArqRedis, edited: list[Row], *, ended: bool
) -> None:
    await producer.enqueue_batch(requests(120), batch_id="b")
    if ended:
        for claim in (await claim_client(redis).claim([LANE], 200)).claims:
            await finish(redis, claim)
    before = await producer.batch("b")
    with pytest.raises(BatchDiffers, match="nothing was added"):
        await producer.enqueue_batch(edited, batch_id="b")
    after = await producer.batch("b")
    assert (after.total, after.completed) == (before.total, before.completed)
