"""How often an answer is bought: a whole worker, a real Redis, and a server that answers badly. Counts, not times."""

from __future__ import annotations

import json
from typing import Any

import pytest

from faultserver import FaultServer
from helpers import requests
from helpers.workers import worker
from recordings.play import chunk, chunks, event, tokens, whole
from windfall import CompletionResult, Producer, Usage
from windfall_worker.settings import BreakerSettings, ModelSettings, ProviderSettings, WorkerSettings

NEVER_OPEN = BreakerSettings(fail_max=1000)
HTML = {"text": "<html>", "headers": {"content-type": "text/html"}}


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """A model that nobody else asks for. A mapping's name has no spaces."""
    return str(request.node.name).replace(" ", "-")


def settings(server: FaultServer, *cloud: str, **numbers: Any) -> WorkerSettings:
    body = {"protocol": "openai", "base_url": server.url, "max_retries": 0, "breaker": NEVER_OPEN, **numbers}
    providers = {name: ProviderSettings.model_validate(body) for name in ("first", "second")}
    return WorkerSettings(models=(ModelSettings(name="m", cloud=cloud),), providers=providers, drain_timeout=0)


async def ask(producer: Producer, **fields: Any) -> CompletionResult:
    return await producer.wait(await producer.enqueue(requests.request(route="cloud", **fields)), timeout=60)


def ends(result: CompletionResult) -> list[tuple[str, str | None]]:
    return [(attempt.backend, attempt.error.code if attempt.error else None) for attempt in result.attempts]


@pytest.mark.parametrize(
    "step",
    [HTML, {"text": '{"choices": [{"mess'}, whole({"content": 5}), chunks({"content": 5})],
    ids=["a page", "half of an answer", "another shape", "another shape in a stream"],
)
async def test_an_answer_that_cannot_be_read_is_bought_twice_and_no_more(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str, step: dict[str, Any]
) -> None:
    fault_server.plan(model, then=step)
    async with worker(settings(fault_server, f"first:{model}"), redis_url):
        result = await ask(producer)
    assert ends(result) == [("first", "unreadable")] * 2
    assert fault_server.hits(model) == 2
    assert result.error
    assert result.error.type in ("invalid_response", "ambiguous")
    assert result.error.code == "unreadable"


async def test_a_backend_whose_answers_cannot_be_read_is_left_out_and_the_next_goes_on(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then=HTML)
    fault_server.plan(f"{model}-2", *[{"status": 503}] * 3)
    async with worker(settings(fault_server, f"first:{model}", f"second:{model}-2"), redis_url):
        result = await ask(producer)
    assert result.ok, result.error
    unreadable, unavailable = ("first", "unreadable"), ("second", None)
    assert ends(result) == [unreadable, unavailable, unreadable, unavailable, unavailable, unavailable]
    assert fault_server.hits(model) == 2


async def test_a_job_that_is_retried_by_hand_may_be_sent_there_again(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, *[HTML] * 2)
    async with worker(settings(fault_server, f"first:{model}"), redis_url):
        job = await producer.enqueue(requests.request(route="cloud"))
        assert not (await producer.wait(job, timeout=60)).ok
        assert await producer.retry(job)
        result = await producer.wait(job, timeout=60)
    assert result.ok, result.error
    assert len(result.attempts) == 3


@pytest.mark.parametrize(
    ("step", "said", "limit"),
    [
        (
            {"events": [chunk({"content": "H"}), chunk({}, "stop")], "event_delay": 600},
            "fell silent for {} s",
            "silence",
        ),
        ({"events": [": comment\n\n"] * 5000, "event_delay": 0.05}, "said nothing for {} s", "timeout"),
        ({"delay": 600}, "did not answer in time", "timeout"),
    ],
    ids=["silence", "comments", "no answer"],
)
async def test_a_slow_answer_has_twice_the_time_once_and_then_is_ambiguous(
    producer: Producer,
    redis_url: str,
    fault_server: FaultServer,
    model: str,
    step: dict[str, Any],
    said: str,
    limit: str,
) -> None:
    fault_server.plan(model, then=step)
    async with worker(settings(fault_server, f"first:{model}", **{limit: 0.3}), redis_url):
        result = await ask(producer)
    assert fault_server.hits(model) == 2
    assert [attempt.outcome for attempt in result.attempts] == ["ambiguous"] * 2
    assert ends(result) == [("first", "timeout")] * 2
    for attempt, seconds in zip(result.attempts, ("0.3", "0.6"), strict=True):
        assert attempt.error
        assert said.format(seconds) in attempt.error.message
    assert result.error
    assert result.error.type == "ambiguous"


async def test_an_answer_that_comes_in_twice_the_time_is_taken(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, {"delay": 600})
    async with worker(settings(fault_server, f"first:{model}", timeout=1.0), redis_url):
        result = await ask(producer)
    assert result.ok
    assert ends(result) == [("first", "timeout"), ("first", None)]


async def test_what_a_failed_attempt_used_is_in_the_ledger(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    broken_off = chunks({"content": "H"}, finish="insufficient_system_resource", usage=tokens(11, 1))
    fault_server.plan(model, broken_off, then=chunks({"content": "Hi"}, usage=tokens(11, 2)))
    async with worker(settings(fault_server, f"first:{model}"), redis_url):
        result = await ask(producer)
    assert result.text == "Hi"
    assert result.attempts[0].usage == Usage(prompt_tokens=11, completion_tokens=1)
    assert result.attempts[0].request_id == "req-fault"
    assert result.usage == Usage(prompt_tokens=22, completion_tokens=3)


UNVERIFIED = {
    "error": {
        "message": "Your organization must be verified to stream this model.",
        "type": "invalid_request_error",
        "param": "stream",
        "code": "unsupported_value",
    }
}


@pytest.mark.parametrize("body", [UNVERIFIED, {"detail": "stream_options: extra fields not permitted"}])
async def test_a_model_that_is_not_streamed_is_asked_for_whole_answers(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str, body: dict[str, Any]
) -> None:
    fault_server.plan(model, {"status": 400, "json": body})
    async with worker(settings(fault_server, f"first:{model}"), redis_url):
        for _ in range(2):
            result = await ask(producer, stream=True)
            assert result.text == "a good answer"
            assert len(result.attempts) == 1
    assert [seen["body"].get("stream", False) for seen in fault_server.seen(model)] == [True, False, False]


async def test_another_refusal_is_not_repeated_without_a_stream(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then={"status": 400, "json": {"error": {"message": "no such tool", "param": "tools"}}})
    async with worker(settings(fault_server, f"first:{model}"), redis_url):
        result = await ask(producer)
    assert fault_server.hits(model) == 1
    assert result.attempts[0].error
    assert result.attempts[0].error.param == "tools"


async def test_a_provider_that_cannot_stream_is_never_asked_to(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    async with worker(settings(fault_server, f"first:{model}", stream=False), redis_url):
        result = await ask(producer, stream=True)
    assert result.text == "a good answer"
    assert "stream" not in fault_server.seen(model)[0]["body"]


async def test_an_event_that_breaks_off_may_have_been_paid_for(
    producer: Producer, redis_url: str, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, {"events": [event({"choices": []}), json.dumps({"a": 1})], "stop_after": 1})
    async with worker(settings(fault_server, f"first:{model}"), redis_url):
        result = await ask(producer)
    assert result.ok
    assert [attempt.outcome for attempt in result.attempts] == ["ambiguous", "completed"]
