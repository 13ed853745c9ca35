"""Rows that no Mac can run: where they wait, who takes them, and what their results hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from arq import ArqRedis

from faultserver import FaultServer
from helpers.batches import in_state
from helpers.requests import request
from helpers.workers import simulated, worker
from windfall import CompletionRequest, InvalidRequest, JobState, Producer, Route, keys
from windfall.formats import output_line
from windfall_worker.cloud.openai import OpenAIClient
from windfall_worker.settings import ModelSettings, ProviderSettings, WorkerSettings

HI = {"role": "user", "content": "hi"}
FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}}


def of_cloud(server: FaultServer, model: str, protocol: str = "openai") -> WorkerSettings:
    provider = ProviderSettings.model_validate({"protocol": protocol, "base_url": server.url, "max_retries": 0})
    models = (ModelSettings(name="m", cloud=(f"first:{model}",)),)
    return WorkerSettings(models=models, providers={"first": provider}, drain_timeout=0)


def choices(*texts: str) -> dict[str, Any]:
    made = [
        {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for index, text in enumerate(texts)
    ]
    return {"json": {"model": "big", "choices": made[::-1], "usage": {"prompt_tokens": 3, "completion_tokens": 20}}}


async def test_a_mac_does_not_take_such_an_auto_row_and_a_cloud_worker_does(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    async with worker(simulated(), redis_url):
        held = await producer.enqueue(request([FILE]))
        # A sign that the Mac looked: what came later was answered.
        assert (await producer.wait(await producer.enqueue(request()), timeout=60)).backend == "simulated"
        assert await producer.result(held) is None
        async with worker(of_cloud(fault_server, model, "anthropic"), redis_url):
            result = await producer.wait(held, timeout=60)
    assert result.backend == "first"
    (sent,) = fault_server.seen(model)
    assert sent["body"]["messages"][0]["content"][0]["type"] == "document"


async def test_a_local_one_fails_when_it_is_submitted_and_names_the_field(producer: Producer, redis: ArqRedis) -> None:
    local = request([FILE], route="local", custom_id="a")
    with pytest.raises(InvalidRequest, match=r"messages\.0\.content\.0\.type.*a model on a Mac takes no files"):
        await producer.enqueue(local)
    batch = await producer.enqueue_batch([local, request()], batch_id="b")
    assert (batch.failed, batch.queued) == (1, 1)
    again = await producer.enqueue_batch([local, request()], batch_id="b")
    assert (again.failed, again.total) == (1, 2)
    async for result in producer.results("b", follow=False):
        assert result.error is not None
        assert result.error.param == "messages.0.content.0.type"
    assert await redis.zcard(keys.lane_queue("m", "local")) == 0


async def test_one_that_waits_for_the_cloud_can_be_cancelled(producer: Producer) -> None:
    await producer.enqueue_batch([request([FILE])], batch_id="b")
    assert [(lane.route, lane.queued) for lane in (await producer.fleet()).lanes] == [(Route.CLOUD, 1)]
    await producer.cancel("b")
    await in_state(producer, "b", cancelled=1)
    assert [lane.queued for lane in (await producer.fleet()).lanes] == [0]


async def test_every_choice_is_in_the_result_and_the_ledger_counts_all_of_them(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then=choices("one", "two", "three"))
    async with worker(of_cloud(fault_server, model), redis_url):
        result = await producer.wait(await producer.enqueue(request(n=3, stream=True)), timeout=60)
    assert result.completion is not None
    assert (result.text, [choice.content for choice in result.completion.more]) == ("one", ["two", "three"])
    assert result.attempts[0].usage == result.usage
    assert result.usage.completion_tokens == 20
    line = json.loads(output_line(result))
    found = [(choice["index"], choice["message"]["content"]) for choice in line["response"]["body"]["choices"]]
    assert found == [(0, "one"), (1, "two"), (2, "three")]
    (sent,) = fault_server.seen(model)
    assert (sent["body"]["n"], "stream" in sent["body"]) == (3, False)


async def test_a_server_that_makes_fewer_choices_than_asked_has_not_answered(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then=choices("one"))
    async with worker(of_cloud(fault_server, model), redis_url):
        result = await producer.wait(await producer.enqueue(request(n=3)), timeout=60)
    assert result.state is JobState.FAILED
    assert result.error is not None
    assert result.error.type == "unsupported_parameter"
    assert "n is 3" in result.error.message
    assert fault_server.hits(model) == 1


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
async def test_a_line_of_anthropics_runs_on_either_protocol_and_says_what_was_left_out(
    protocol: str, producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    params = {
        "model": "m",
        "max_tokens": 5,
        "system": [{"type": "text", "text": "long"} | mark],
        "messages": [HI],
        "metadata": {"user_id": "u"},
    }
    async with worker(of_cloud(fault_server, model, protocol), redis_url):
        name = await producer.enqueue(CompletionRequest.from_anthropic(params, route="cloud"))
        result = await producer.wait(name, timeout=60)
    (sent,) = fault_server.seen(model)
    body = {name: value for name, value in sent["body"].items() if name not in ("stream", "stream_options")}
    if protocol == "anthropic":
        assert body == params | {"model": model}
        assert result.ignored == ()
    else:
        system = {"role": "system", "content": "long"}
        assert body == {"model": model, "max_tokens": 5, "messages": [system, HI], "user": "u"}
        assert result.ignored == ("cache_control",)


async def test_an_address_with_a_query_keeps_it(fault_server: FaultServer, model: str) -> None:
    async with OpenAIClient(fault_server.url + "?api-version=2026-10-01", "sk-test") as client:
        await client.completion(request(), model, stream=False)
    (sent,) = fault_server.seen(model)
    assert sent["query"] == {"api-version": ["2026-10-01"]}
