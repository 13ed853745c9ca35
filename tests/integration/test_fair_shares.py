"""Who shares a lane, and how: flows, weights, owners, lanes, and interactive requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest
from arq import ArqRedis

from helpers.protocol import LANE, answer, claim_client, release
from helpers.requests import request, requests
from windfall import CompletionRequest, InvalidRequest, JobState, Producer, keys
from windfall.scripts import Arg, Script, run
from windfall_worker.jobs.claim import Claim
from windfall_worker.queue.claims import ClaimClient

LOCAL = keys.lane_queue("m", "local")


async def complete(redis: ArqRedis, claim: Claim, tokens: int) -> None:
    """End a job with a completion of so many tokens, and no prompt."""
    end: list[Arg] = [claim.job_id, claim.token, "completed", answer(claim), 0, 0, tokens, 0, 0, claim.digest]
    assert await run(redis, Script.FINISH, [claim.lane], end) == b"ok"


def batch_of(claim: Claim) -> str:
    return keys.batch_of(claim.job_id) or ""


async def served(
    redis: ArqRedis, rows: int, tokens: Callable[[Claim], int], *, lanes: tuple[str, ...] = (LANE,), slots: int = 8
) -> Counter[str]:
    """The tokens that each batch got, from a worker that ends its jobs one by one, the oldest first."""
    worker, got, running = claim_client(redis), Counter[str](), list[Claim]()
    for _ in range(rows):
        running += (await worker.claim(lanes, slots - len(running))).claims
        claim = running.pop(0)
        got[batch_of(claim)] += tokens(claim)
        await complete(redis, claim, tokens(claim))
    for claim in running:
        await release(redis, claim, 0, "undo")
    return got


async def ids(client: ClaimClient, want: int, lanes: tuple[str, ...] = (LANE,)) -> list[str]:
    return [claim.job_id for claim in (await client.claim(lanes, want)).claims]


async def test_ten_rows_behind_thousands_are_claimed_next(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(3000), batch_id="big")
    worker = claim_client(redis)
    for _ in range(20):
        await worker.claim([LANE], 32)
    await producer.enqueue_batch(requests(10), batch_id="tiny")
    next_ones = [name for _ in range(6) for name in await ids(worker, 4)]
    assert [name for name in next_ones if name.startswith("tiny")] == [f"tiny:{n}" for n in range(1, 11)]


async def test_batches_make_equal_progress_in_tokens_whatever_a_row_of_theirs_costs(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(400), batch_id="long")
    await producer.enqueue_batch(requests(1500), batch_id="short")
    got = await served(redis, 600, lambda claim: 1000 if batch_of(claim) == "long" else 100)
    assert got["long"] == pytest.approx(got["short"], rel=0.1)


async def test_ten_batches_of_very_different_sizes_make_equal_progress(producer: Producer, redis: ArqRedis) -> None:
    for n in range(10):
        await producer.enqueue_batch(requests(3000 if n == 3 else 60), batch_id=f"b{n}")
    got = await served(redis, 500, lambda _: 100)
    jain = sum(got.values()) ** 2 / (10 * sum(tokens**2 for tokens in got.values()))
    assert jain > 0.98


async def test_a_priority_of_three_has_eight_times_the_share(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(900), batch_id="high", priority=3)
    await producer.enqueue_batch(requests(900), batch_id="normal")
    got = await served(redis, 450, lambda _: 300)
    assert got["high"] / got["normal"] == pytest.approx(8, rel=0.15)


async def test_rows_of_one_batch_with_other_priorities_are_flows_of_their_own(
    producer: Producer, redis: ArqRedis
) -> None:
    rows: list[CompletionRequest] = [*requests(300), *(request(priority=2, custom_id=f"p{n}") for n in range(300))]
    await producer.enqueue_batch(rows, batch_id="b", priority=0)
    worker = claim_client(redis)
    first = Counter([int(name[2:]) > 300 for _ in range(25) for name in await ids(worker, 4)])
    assert first[True] / first[False] == pytest.approx(4, rel=0.2)


async def test_an_owner_with_many_batches_has_one_share(producer: Producer, redis: ArqRedis) -> None:
    for n in range(12):
        await producer.enqueue_batch(requests(60), batch_id=f"many{n}", owner="ann")
    await producer.enqueue_batch(requests(600), batch_id="single", owner="bob")
    got = await served(redis, 400, lambda _: 200)
    of_ann = {name: tokens for name, tokens in got.items() if name.startswith("many")}
    assert sum(of_ann.values()) == pytest.approx(got["single"], rel=0.1)
    assert max(of_ann.values()) <= 2 * min(of_ann.values())


async def test_owners_share_a_lane_by_their_weights(producer: Producer, redis: ArqRedis) -> None:
    await cast("Any", redis).hset(keys.SHARES, "ann", 3)
    await producer.enqueue_batch(requests(600), batch_id="a", owner="ann", priority=-9)
    await producer.enqueue_batch(requests(600), batch_id="b", owner="bob")
    got = await served(redis, 400, lambda _: 200)
    assert got["a"] / got["b"] == pytest.approx(3, rel=0.15)


async def test_an_owner_who_comes_back_with_one_batch_after_another_gets_no_more_than_the_others(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(600), batch_id="steady", owner="ann")
    got: Counter[str] = Counter()
    for n in range(40):
        await producer.enqueue_batch(requests(6), batch_id=f"drip{n}", owner="bob")
        for name, tokens in (await served(redis, 6, lambda _: 200, slots=2)).items():
            got[name[:4]] += tokens
    assert got["drip"] <= 1.1 * got["stea"]


async def test_who_was_idle_has_saved_nothing_up(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(4), batch_id="idle")
    await producer.enqueue_batch(requests(800), batch_id="busy")
    await served(redis, 300, lambda _: 300)
    await producer.enqueue_batch(requests(404), batch_id="idle")
    got = await served(redis, 200, lambda _: 300)
    assert got["idle"] == pytest.approx(got["busy"], rel=0.1)


async def test_who_comes_does_not_wait_until_estimates_that_were_too_high_are_made_good(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(800), batch_id="busy")
    await served(redis, 100, lambda _: 5000)
    worker = claim_client(redis)
    running = (await worker.claim([LANE], 64)).claims  # estimated at 5,000 tokens each
    for claim in running:
        await complete(redis, claim, 10)
    await producer.enqueue_batch(requests(10), batch_id="tiny")
    assert sum(name.startswith("tiny") for name in await ids(worker, 32)) == 10


async def test_single_jobs_are_one_more_flow(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(400), batch_id="b")
    for single in requests(100):  # as large as the batch's rows: shares are of tokens
        await producer.enqueue(single)
    worker = claim_client(redis)
    first = Counter([keys.batch_of(name) for _ in range(25) for name in await ids(worker, 4)])
    assert first["b"] == pytest.approx(first[None], rel=0.1)


async def test_flows_in_two_lanes_that_one_worker_serves_make_equal_progress(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(600, route="local"), batch_id="local")
    for n in range(3):
        await producer.enqueue_batch(requests(400), batch_id=f"auto{n}")
    got = await served(redis, 400, lambda _: 200, lanes=(LOCAL, LANE))
    assert min(got.values()) == pytest.approx(max(got.values()), rel=0.15)


async def test_a_lane_that_others_serve_too_starves_neither_it_nor_its_neighbour(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(400), batch_id="auto")
    await served(redis, 200, lambda _: 1000)  # as the cloud does, for the lane `auto` alone
    await producer.enqueue_batch(requests(400, route="local"), batch_id="local")
    await producer.enqueue_batch(requests(100), batch_id="new")
    got = await served(redis, 90, lambda _: 1000, lanes=(LOCAL, LANE))
    assert set(got) == {"auto", "local", "new"}
    assert min(got.values()) >= 0.6 * max(got.values())


async def test_what_did_not_run_costs_its_flow_nothing(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(40), batch_id="drained")
    await producer.enqueue_batch(requests(40), batch_id="other")
    worker = claim_client(redis)
    before = await redis.zscore(keys.of_lane(keys.FLOWS, LANE), "drained:0")
    for _ in range(3):
        for claim in (await worker.claim([LANE], 8)).claims:
            await release(redis, claim, 0, "undo")
    after = await redis.zscore(keys.of_lane(keys.FLOWS, LANE), "drained:0")
    assert after == before


async def test_an_interactive_request_goes_before_everything_else(producer: Producer, redis: ArqRedis) -> None:
    await producer.enqueue_batch(requests(100), batch_id="b", priority=9)
    name = await producer.enqueue(request(), interactive=True)
    claimed = (await claim_client(redis).claim([LANE], 4)).claims
    assert (claimed[0].job_id, claimed[0].interactive) == (name, True)
    assert [claim.interactive for claim in claimed[1:]] == [False] * 3


async def test_while_interactive_requests_come_a_part_of_the_slots_takes_no_batch(
    producer: Producer, redis: ArqRedis
) -> None:
    await producer.enqueue_batch(requests(100), batch_id="b")
    worker = claim_client(redis)
    assert len((await worker.claim([LANE], 8, others=7)).claims) == 8
    await producer.enqueue(request(), interactive=True)
    claimed = await worker.claim([LANE], 8, others=7)
    assert ([claim.interactive for claim in claimed.claims].count(True), len(claimed.claims)) == (1, 8)
    claimed = await worker.claim([LANE], 1, others=0)
    assert (claimed.claims, claimed.reserved) == ((), True)
    assert claimed.next_due is None  # nobody asks again at once
    fair = keys.of_lane(keys.FAIR, LANE)
    await redis.hincrby(fair, "interactive", -60_000)  # type: ignore[misc]
    claimed = await worker.claim([LANE], 1, others=0)
    assert (len(claimed.claims), claimed.reserved) == (1, False)


async def test_an_interactive_request_stays_one_when_it_comes_back_or_is_retried(
    producer: Producer, redis: ArqRedis
) -> None:
    batch = await producer.enqueue_batch(requests(1), interactive=True)
    name = f"{batch.id}:1"
    worker = claim_client(redis)
    (claim,) = (await worker.claim([LANE], 1)).claims
    await release(redis, claim, 0, "undo")
    await producer.enqueue_batch(requests(10), batch_id="b")
    (claim,) = (await worker.claim([LANE], 1)).claims
    assert (claim.job_id, claim.interactive) == (name, True)
    end: list[Arg] = [
        claim.job_id,
        claim.token,
        JobState.FAILED.value,
        answer(claim, JobState.FAILED),
        0,
        0,
        0,
        0,
        0,
        claim.digest,
    ]
    await run(redis, Script.FINISH, [claim.lane], end)
    assert await producer.retry(name) == 1
    (claim,) = (await worker.claim([LANE], 1)).claims
    assert (claim.job_id, claim.interactive) == (name, True)
    assert await redis.exists(keys.of_lane(keys.INTERACTIVE, LANE)) == 0


async def test_who_a_batch_belongs_to_is_kept_with_it(producer: Producer) -> None:
    await producer.open_batch(batch_id="b", owner="ann", priority=-2, interactive=True)
    status = await producer.batch("b")
    assert (status.owner, status.priority, status.interactive) == ("ann", -2, True)
    again = await producer.open_batch(batch_id="b", owner="bob")
    assert again.owner == "ann"
    for owner in ("", "a:b", "a b", "x" * 129, "\n"):
        with pytest.raises(InvalidRequest, match="an owner is 1 to 128 characters"):
            await producer.open_batch(owner=owner)
    with pytest.raises(InvalidRequest, match="a priority is a whole number from -9 to 9, not 10"):
        await producer.open_batch(priority=10)
