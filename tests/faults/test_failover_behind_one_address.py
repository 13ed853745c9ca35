"""The master is demoted behind an address that stays the same (a virtual address, a service of Kubernetes)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import redis as sync_redis

from faults.invariants import Tally, each_row_once, finished
from faultserver.proxy import Proxy
from faultserver.redis_process import RedisProcess
from helpers.processes import program, workers_up
from helpers.requests import requests
from helpers.waiting import eventually, until
from windfall import Producer

ROWS = 60


async def test_workers_and_producers_go_over_to_the_new_master(tmp_path: Path) -> None:
    tally, log = Tally(tmp_path), tmp_path / "worker.log"
    with RedisProcess() as old, RedisProcess() as new, Proxy(old.port) as proxy:
        _follow(new, old)
        flags = ("--redis", proxy.url, "--simulate", 0.5, "--slots", 4, "--lease", 3, "--tally", tally.file)
        with program("worker", *flags, log=log), program("worker", *flags, log=log):
            async with Producer(proxy.url) as producer:
                await producer.enqueue_batch(requests(ROWS), batch_id="b")
                await workers_up(producer, 2)

                async def some() -> bool:
                    return (await producer.batch("b")).completed >= 8

                await eventually(some, "rows done")
                proxy.target = new.port
                await asyncio.to_thread(_swap, old, new)
                # A submission over the connections to the demoted one, too.
                await producer.enqueue_batch(requests(ROWS), batch_id="c")
            await finished(new.url, "b", within=90)
            await finished(new.url, "c", within=90)
        results = [*await each_row_once(new.url, "b", ROWS), *await each_row_once(new.url, "c", ROWS)]
    assert all(result.ok for result in results)
    assert "Traceback" not in log.read_text()


def _swap(old: RedisProcess, new: RedisProcess) -> None:
    with sync_redis.Redis(port=new.port) as client:
        client.replicaof("NO", "ONE")
    with sync_redis.Redis(port=old.port) as client:
        client.replicaof("127.0.0.1", new.port)


def _follow(replica: RedisProcess, master: RedisProcess) -> None:
    with sync_redis.Redis(port=replica.port) as client:
        client.config_set("repl-diskless-sync-delay", 0)
        client.replicaof("127.0.0.1", master.port)

        def follows() -> bool:
            info: Any = client.info("replication")
            return bool(info["master_link_status"] == "up")

        until(follows, "the second following the first")
