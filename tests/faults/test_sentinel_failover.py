"""The master dies under a batch, sentinels make the replica the master, and workers and producers follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.invariants import Tally, each_row_once, finished
from faults.sentinels import PASSWORD, SentinelFleet
from helpers.processes import program, workers_up
from helpers.requests import requests
from helpers.waiting import eventually
from windfall import BrokerUnavailable, ConfigError, Producer
from windfall.broker.connection import connect
from windfall.embedded.broker import free_port

ROWS = 60


async def test_a_failover_costs_no_row_and_nobody_has_to_be_told(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    tally, log = Tally(tmp_path), tmp_path / "worker.log"
    with SentinelFleet(tmp_path) as fleet:
        flags = ("--redis", fleet.url, "--simulate", 0.5, "--slots", 4, "--lease", 3, "--tally", tally.file)
        with program("worker", *flags, log=log), program("worker", *flags, log=log):
            async with Producer(fleet.url) as producer:
                await producer.enqueue_batch(requests(ROWS), batch_id="b")
                await workers_up(producer, 2)

                async def some() -> bool:
                    return (await producer.batch("b")).completed >= 8

                await eventually(some, "rows done")
                fleet.kill_master()
                # The same producer, with its connections to the dead master, goes on.
                await through_outages_of(producer)
            await finished(fleet.url, "b", within=90)
        results = await each_row_once(fleet.url, "b", ROWS)
    assert all(result.ok for result in results)
    assert "Traceback" not in log.read_text()
    assert PASSWORD not in log.read_text()
    record_property("waste", tally.waste(ROWS))
    assert tally.unexplained(results) == []


async def through_outages_of(producer: Producer) -> None:
    """Wait until this very producer reaches a master again."""
    async with asyncio.timeout(60):
        while True:
            try:
                await producer.wait(await producer.enqueue(next(requests(1))), timeout=60)
            except BrokerUnavailable:
                await asyncio.sleep(0.2)
            else:
                return


@pytest.mark.parametrize(
    "url",
    ["redis+sentinel://a:26379", "redis+sentinel://a:x/main", "redis+sentinel:///main", "redis+sentinel://a/main?db=x"],
)
async def test_a_sentinel_url_that_is_none_is_refused_with_how_to_write_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"write redis\+sentinel://.*/MASTER"):
        await connect(url)


@pytest.mark.parametrize("scheme", ["redis+sentinel", "rediss+sentinel"])
@pytest.mark.parametrize("master", ["main", "my-master.one", "main?db=2"])
async def test_a_sentinel_url_may_name_any_master(scheme: str, master: str) -> None:
    with pytest.raises(BrokerUnavailable, match="No master found"):
        await connect(f"{scheme}://127.0.0.1:{free_port()},127.0.0.1:{free_port()}/{master}")


@pytest.mark.parametrize("password", ["a%2Fsecret", "a/secret"])
async def test_what_is_wrong_with_a_sentinel_url_is_told_without_the_password(password: str) -> None:
    with pytest.raises((BrokerUnavailable, ConfigError)) as told:
        await connect(f"redis+sentinel://:{password}@127.0.0.1:{free_port()}/main")
    assert "secret" not in str(told.value)
    assert ":a" not in str(told.value)
