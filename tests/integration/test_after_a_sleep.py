"""A machine that slept: its clocks for what happened meanwhile went on."""

from __future__ import annotations

import time

import pytest
from arq import ArqRedis

from windfall.clock import RedisClock
from windfall.steady import steady
from windfall_worker.claims import ClaimDesk, Lease
from windfall_worker.metrics.recorder import Recorder
from windfall_worker.renewals import Renewals

HOUR = 3600.0


def test_while_the_machine_is_awake_the_clock_goes_as_others_do() -> None:
    one, other = steady(), time.monotonic()
    time.sleep(0.05)
    assert steady() - one == pytest.approx(time.monotonic() - other, abs=0.02)


async def test_redis_is_asked_for_its_time_again(redis: ArqRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = RedisClock(redis)
    before = await clock.now()
    monkeypatch.setattr("windfall.clock.steady", lambda: steady() + HOUR)
    assert clock.carried() - before > HOUR - 1  # as it would be in an hour
    assert await clock.now() - before < 10  # for Redis, no hour went by: this machine's clock is not believed


async def test_leases_are_renewed_before_jobs_are_claimed(redis: ArqRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Desk(ClaimDesk):
        async def renew(self, *claims: object) -> object:  # type: ignore[override]
            asked.append(claims)
            return await super().renew(*claims)  # type: ignore[arg-type]

    renewals = Renewals(Desk(redis, "mac", Lease(10_000, 3_000)), {}, 3.0, Recorder())
    await renewals.if_late()
    assert asked == []
    monkeypatch.setattr("windfall_worker.renewals.steady", lambda: steady() + HOUR)
    await renewals.if_late()
    assert len(asked) == 1
    await renewals.if_late()
    assert len(asked) == 1
