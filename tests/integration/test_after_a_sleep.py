"""A machine that slept: its clocks for what happened meanwhile went on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest
from arq import ArqRedis

from helpers.protocol import LANE
from windfall.broker.clock import RedisClock
from windfall.runtime.boottime import boottime
from windfall.runtime.tasks import cancel_all, wait_for
from windfall_worker.backends.capacity import Capacity
from windfall_worker.control import Gate
from windfall_worker.jobs.context import WorkerContext
from windfall_worker.jobs.decide import Policy
from windfall_worker.queue.claiming import Claiming
from windfall_worker.queue.claims import ClaimClient, Claimed, Lease
from windfall_worker.queue.lanes import LaneGroup
from windfall_worker.queue.renewals import Renewals
from windfall_worker.recorder import Recorder

HOUR = 3600.0


def test_while_the_machine_is_awake_the_clock_goes_as_others_do() -> None:
    times = []
    for _ in range(2):
        times.append((time.monotonic(), boottime(), time.monotonic()))
        time.sleep(0.05)
    (a, began, b), (c, ended, d) = times
    assert c - b - 0.001 < ended - began < d - a + 0.001


async def test_redis_is_asked_for_its_time_again(redis: ArqRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = RedisClock(redis)
    before = await clock.now()
    monkeypatch.setattr("windfall.broker.clock.boottime", lambda: boottime() + HOUR)
    assert clock.carried() - before > HOUR - 1  # as it would be in an hour
    assert await clock.now() - before < 10  # for Redis, no hour went by: this machine's clock is not believed


async def test_leases_are_renewed_once_where_it_is_late(redis: ArqRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class AskedClient(ClaimClient):
        async def renew(self, *claims: object) -> object:  # type: ignore[override]
            asked.append(claims)
            return await super().renew(*claims)  # type: ignore[arg-type]

    renewals = Renewals(AskedClient(redis, "mac", Lease(10_000, 3_000)), {}, 3.0, Recorder())
    await renewals.if_late()
    assert asked == []
    monkeypatch.setattr("windfall_worker.queue.renewals.boottime", lambda: boottime() + HOUR)
    await renewals.if_late()
    assert len(asked) == 1
    await renewals.if_late()
    assert len(asked) == 1


async def test_leases_are_renewed_before_jobs_are_claimed(redis: ArqRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class AskedClient(ClaimClient):
        async def renew(self, *claims: object) -> object:  # type: ignore[override]
            asked.append("renew")
            return await super().renew(*claims)  # type: ignore[arg-type]

        async def claim(self, lanes: Sequence[str], want: int, **limits: int | None) -> Claimed:
            asked.append("claim")
            return await super().claim(lanes, want, **limits)

    claim_client = AskedClient(redis, "mac", Lease(10_000, 3_000))
    renewals = Renewals(claim_client, {}, 3.0, Recorder())
    monkeypatch.setattr("windfall_worker.queue.renewals.boottime", lambda: boottime() + HOUR)
    context = WorkerContext({}, RedisClock(redis), Policy(max_tries=1), "mac")
    claiming = Claiming(claim_client, renewals, Gate(), context, lambda _, __: None, renewal=3.0)
    task = asyncio.create_task(claiming.run(LaneGroup("m", Capacity(1), (LANE,), lambda: (LANE,))))
    try:
        assert await wait_for(claiming.ready, within=60)
    finally:
        await cancel_all([task])
    assert asked[:2] == ["renew", "claim"]
