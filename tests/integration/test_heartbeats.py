"""What workers say of themselves."""

from __future__ import annotations

import threading

import pytest
from arq import ArqRedis

from helpers.processes import workers_up
from helpers.waiting import eventually
from helpers.workers import simulated, worker
from windfall import Producer, keys
from windfall.queue.fleet import read_fleet
from windfall.queue.workers import WorkerStatus, worker_name, write_heartbeat


async def test_the_worker_does_not_wait_for_what_its_machine_says_of_itself(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[threading.Thread] = []

    def chip() -> str:
        asked.append(threading.current_thread())
        return "Apple M4"

    monkeypatch.setattr("windfall_worker.queue.heartbeat.chip", chip)
    async with worker(simulated(), redis_url), Producer(redis_url) as producer:
        await workers_up(producer, 1)
        (status,) = (await producer.fleet()).workers
    assert status.chip == "Apple M4"
    assert asked[0] is not threading.main_thread()


async def test_workers_without_a_name_share_that_of_their_machine(redis: ArqRedis, redis_url: str) -> None:
    async with worker(simulated(), redis_url), worker(simulated(), redis_url), worker(simulated(name="m"), redis_url):

        async def all_beat() -> bool:
            return len((await read_fleet(redis)).workers) == 3

        await eventually(all_beat, "three heartbeats")
        names = [worker_name(each.id) for each in (await read_fleet(redis)).workers]
    assert len(set(names)) == 2


@pytest.mark.parametrize("pid", [0, -1, 1 << 40])
async def test_a_heartbeat_of_a_process_that_cannot_be_is_nobodys(redis: ArqRedis, pid: int) -> None:
    facts = {"host": "here", "pid": 1, "state": "running", "started_at": 0.0, "seen_at": 0.0, "version": "0"}
    status = WorkerStatus.model_validate({"id": "mini-7-aaaaaa", **facts})
    await write_heartbeat(redis, status)
    assert len((await read_fleet(redis)).workers) == 1
    await redis.set(keys.WORKER + status.id, status.model_dump_json().replace('"pid":1,', f'"pid":{pid},'))
    assert (await read_fleet(redis)).workers == ()
