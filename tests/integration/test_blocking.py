"""The blocking Producer, and `windfall.run` and `windfall.map`, also where an event loop runs already."""

from __future__ import annotations

import asyncio
from pathlib import Path

import polars as pl
import pytest

import windfall
from helpers.requests import request
from windfall.errors import InvalidRequest
from windfall.sync import Producer


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_a_blocking_producer_does_what_the_async_one_does(redis_url: str) -> None:
    with Producer(redis_url) as producer:
        batch = producer.enqueue_batch([request("a"), request("b")])
        assert producer.batch(batch.id).queued == 2
        assert producer.cancel(batch.id) == 2
        assert [result.state for result in producer.results(batch.id)] == ["cancelled", "cancelled"]


async def test_it_works_where_an_event_loop_runs_already(redis_url: str) -> None:
    producer = Producer(redis_url)
    job = producer.enqueue(request("a"))
    assert producer.state(job) == "queued"
    producer.close()
    await asyncio.sleep(0)


def test_run_and_map_answer_in_order_and_equal_requests_once() -> None:
    results = windfall.run(
        ["Reverse: horse", "Upper case: a", "Reverse: horse"], model="demo", reuse=True, progress=False
    )
    assert [result.ok for result in results] == [True] * 3
    assert [result.copied_from for result in results] == [None, None, "row-1"]
    assert results[0].text == results[2].text


def test_map_continues_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({"text": ["horse", "river"], "n": [1, 2]})
    first = windfall.map(frame, prompt="Reverse: {text}", model="demo", name="night", progress=False)
    assert first.columns == ["text", "n", "answer"]

    def never(*_: object, **__: object) -> None:
        raise AssertionError("nothing is left to run")

    monkeypatch.setattr("windfall.cli.blocking.run_rows", never)
    again = windfall.map(frame.reverse(), prompt="Reverse: {text}", model="demo", name="night", progress=False)
    assert again.reverse().equals(first)


def test_a_bad_request_is_named_before_anything_runs() -> None:
    with pytest.raises(InvalidRequest, match="request 2: field 'temperature'"):
        windfall.run(["a", {"messages": [{"role": "user", "content": "b"}], "temperature": 9}], model="demo")
    with pytest.raises(InvalidRequest, match="no column 'txt'"):
        windfall.map([{"text": "a"}], prompt="{txt}", model="demo")
