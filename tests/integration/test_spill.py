"""When the cloud may take what asks for no route: against a real Redis, on a clock that the test moves."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import pytest
from arq import ArqRedis

from helpers.fake_clock import FakeClock
from helpers.requests import request
from windfall import Producer, keys
from windfall.broker.clock import RedisClock
from windfall.queue.workers import ServedModel, WorkerStatus, write_heartbeat
from windfall_worker.queue.heartbeat import announce_serving
from windfall_worker.queue.spill import Spill, SpillRule
from windfall_worker.settings import SpillWhen

NOW = 1_000_000.0


def mac(*, state: str = "running", seen_at: float = NOW, **about: object) -> WorkerStatus:
    served = ServedModel.model_validate({"name": "m", "backends": ("mlx",), "slots": 4, **about})
    return WorkerStatus(
        id="mini-7-aaaaaa", host="mini", pid=7, state=state, started_at=NOW, seen_at=seen_at, version="0",
        models=(served,), spill="no-mac", spill_after=60,
    )  # fmt: skip


class Rig:
    """A `Spill` for the model `m`, whose looks a test makes."""

    def __init__(self, redis: ArqRedis, when: SpillWhen = SpillWhen.NO_MAC, after: float = 60.0) -> None:
        self.redis = redis
        self.clock = FakeClock()
        mappings = {"m": "openai:gpt-5-mini"}
        self.spill = Spill(redis, RedisClock(redis), mappings, SpillRule(when, after), loop_time=self.clock)

    @property
    def open(self) -> bool:
        return "m" in self.spill.open

    async def pass_time(self, seconds: int, beats: Iterable[WorkerStatus] = ()) -> list[bool]:
        """Look once a second; every second one of these is written. Returns what each look said."""
        said = []
        for second in range(seconds):
            self.clock.now += 1
            for status in beats if second % 2 == 0 else ():
                await write_heartbeat(self.redis, status.model_copy(update={"seen_at": NOW + self.clock.now}))
            await self.spill.look()
            said.append(self.open)
        return said


@pytest.fixture
def rig(redis: ArqRedis) -> Rig:
    return Rig(redis)


async def test_where_there_never_was_a_mac_the_cloud_takes_everything_at_once(rig: Rig) -> None:
    assert await rig.spill.look()  # more are open than before
    assert rig.open
    assert not await rig.spill.look()


async def test_nothing_goes_out_while_a_mac_is_live_whatever_it_says_of_itself(rig: Rig) -> None:
    assert not any(await rig.pass_time(200, [mac(state="paused")]))


async def test_a_minute_after_the_last_sign_of_a_mac_the_cloud_takes_over_and_says_so(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.pass_time(10, [mac()])
    said = await rig.pass_time(100)
    assert said.index(True) in (58, 59, 60)
    assert all(said[60:])
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage() == "no Mac has served m for 60 s: jobs of route auto go to openai:gpt-5-mini"


async def test_a_mac_that_is_back_takes_over_at_once(rig: Rig) -> None:
    await rig.pass_time(10, [mac()])
    assert (await rig.pass_time(80))[-1]
    assert not any(await rig.pass_time(3, [mac()]))


@pytest.mark.parametrize("gone", [mac(state="draining"), mac(unavailable=("mlx",)), mac(local=False)])
async def test_a_mac_that_takes_no_more_jobs_or_has_no_engine_serves_nothing(rig: Rig, gone: WorkerStatus) -> None:
    await rig.pass_time(10, [mac()])
    assert (await rig.pass_time(80, [gone]))[-1]


async def test_a_mac_whose_cloud_side_is_closed_still_serves(rig: Rig) -> None:
    assert not any(await rig.pass_time(80, [mac(backends=("mlx", "openai"), unavailable=("openai",))]))


async def test_a_worker_that_has_just_started_gives_the_macs_the_same_time(redis: ArqRedis) -> None:
    await write_heartbeat(redis, mac(seen_at=NOW - 86400))  # yesterday's
    said = await Rig(redis).pass_time(80)
    assert said.index(True) in (59, 60)


async def test_even_without_a_grace_a_heartbeat_may_be_late(redis: ArqRedis) -> None:
    rig = Rig(redis, after=0)
    await rig.pass_time(4, [mac()])
    assert (await rig.pass_time(30)).index(True) in range(12, 17)


async def test_what_could_not_be_heard_does_not_count(rig: Rig) -> None:
    await rig.pass_time(10, [mac()])
    await rig.pass_time(50)
    rig.clock.advance(600)  # Redis was away, or this process stood still: no look was made
    assert (await rig.pass_time(80)).index(True) in (59, 60, 61)


async def test_the_first_mac_of_a_fleet_is_not_overtaken_while_it_loads(redis: ArqRedis, rig: Rig) -> None:
    await announce_serving(redis, RedisClock(redis), ["m"])
    assert not any(await rig.pass_time(50))
    # One that never gets further and starts again and again is not live.
    await announce_serving(redis, RedisClock(redis), ["m"])
    assert (await rig.pass_time(11))[-1]


async def test_macs_of_the_version_before_count_by_their_heartbeats(redis: ArqRedis, rig: Rig) -> None:
    await write_heartbeat(redis, mac().model_copy(update={"spill": None}))
    await redis.delete(keys.SERVES + "m")
    assert not any(await rig.pass_time(40))
    await redis.delete(keys.WORKER + "mini-7-aaaaaa")
    assert (await rig.pass_time(16))[-1]


async def test_a_look_costs_one_small_read_however_many_macs_there_are(redis: ArqRedis, rig: Rig) -> None:
    for number in range(50):
        await write_heartbeat(redis, mac().model_copy(update={"id": f"mini-7-{number:06x}"}))
    await rig.spill.look()
    before = (await redis.info("commandstats"), await redis.info("stats"))
    for _ in range(10):
        await rig.spill.look()
    after = (await redis.info("commandstats"), await redis.info("stats"))
    calls = {name: found["calls"] - before[0].get(name, {"calls": 0})["calls"] for name, found in after[0].items()}
    assert {name: count for name, count in calls.items() if count and name != "cmdstat_info"} == {"cmdstat_mget": 10}
    assert after[1]["total_net_output_bytes"] - before[1]["total_net_output_bytes"] < 20_000


@pytest.mark.parametrize("single", [True, False])
async def test_a_backlog_goes_out_only_where_somebody_asked_for_it(
    producer: Producer, redis: ArqRedis, *, single: bool
) -> None:
    name = await producer.enqueue(request()) if single else (await producer.enqueue_batch([request()])).id
    unasked, asked = Rig(redis, after=0), Rig(redis, SpillWhen.BACKLOG, after=0)
    assert not any(await unasked.pass_time(10, [mac()]))
    assert all(await asked.pass_time(4, [mac()]))
    await producer.cancel(name)
    assert not any(await asked.pass_time(4, [mac()]))
