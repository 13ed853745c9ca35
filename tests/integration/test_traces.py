"""One trace from enqueueing to the backend, across a real Redis; and nothing of it where nobody traces."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from arq import ArqRedis
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from faultserver import FaultServer
from helpers.requests import request, requests
from helpers.waiting import eventually
from helpers.workers import simulated, worker
from windfall import CompletionRequest, Producer, keys
from windfall.errors import BackendUnavailable
from windfall.wire import decode_job, encode_job
from windfall_worker.backends.simulated import SimulatedBackend
from windfall_worker.settings import ModelSettings, ProviderSettings, WorkerSettings

PROMPT = "nobody else's business"
KEY = "sk-very-private-0123456789"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """A program that traces into memory."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # OpenTelemetry lets a program set its provider once, and this program runs many tests.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def named(spans: InMemorySpanExporter, beginning: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name.startswith(beginning)]


def facts(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def is_child(child: ReadableSpan, parent: ReadableSpan) -> bool:
    return bool(
        child.parent
        and parent.context
        and child.parent.span_id == parent.context.span_id
        and child.parent.trace_id == parent.context.trace_id
    )


async def test_a_job_is_one_trace_from_enqueueing_over_the_worker_to_the_backend(
    producer: Producer, redis_url: str, spans: InMemorySpanExporter
) -> None:
    async with worker(simulated(), redis_url):
        job_id = await producer.enqueue(request(PROMPT, temperature=0, max_tokens=9))
        result = await producer.wait(job_id, timeout=60)
    (enqueued,), (job,), (attempt,) = named(spans, "enqueue"), named(spans, "job"), named(spans, "chat")
    assert is_child(job, enqueued)
    assert is_child(attempt, job)
    assert (enqueued.kind, job.kind, attempt.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.INTERNAL)
    assert facts(job)["messaging.message.id"] == job_id
    assert facts(job)["windfall.outcome"] == "completed"
    said = facts(attempt)
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.provider.name"] == "simulated"
    assert (said["gen_ai.request.model"], said["gen_ai.response.model"]) == ("m", "simulated")
    assert (said["gen_ai.request.temperature"], said["gen_ai.request.max_tokens"]) == (0, 9)
    assert said["gen_ai.usage.input_tokens"] == result.usage.prompt_tokens
    assert said["gen_ai.usage.output_tokens"] == result.usage.completion_tokens
    assert said["gen_ai.response.finish_reasons"] == ("stop",)
    assert PROMPT not in "".join(span.to_json() for span in spans.get_finished_spans())
    assert result.text not in "".join(span.to_json() for span in spans.get_finished_spans())


async def test_all_rows_of_a_batch_are_children_of_its_submission(
    producer: Producer, redis_url: str, spans: InMemorySpanExporter
) -> None:
    async with worker(simulated(), redis_url):
        batch = await producer.enqueue_batch(requests(5))
        _ = [result async for result in producer.results(batch.id)]

        async def all_ended() -> bool:
            return len(named(spans, "job")) == 5

        await eventually(all_ended, "five spans")
    (enqueued,) = named(spans, "enqueue batch")
    assert all(is_child(job, enqueued) for job in named(spans, "job"))
    assert {facts(job)["windfall.batch"] for job in named(spans, "job")} == {batch.id}


async def test_a_submission_that_fails_says_of_what_and_no_more(
    producer: Producer, spans: InMemorySpanExporter
) -> None:
    def rows() -> Iterator[CompletionRequest]:
        yield request()
        raise ValueError(f"cannot parse {PROMPT}")

    with pytest.raises(ValueError, match=PROMPT):
        await producer.enqueue_batch(rows())
    (enqueued,) = named(spans, "enqueue batch")
    assert (facts(enqueued)["error.type"], enqueued.status.status_code) == ("ValueError", StatusCode.ERROR)
    assert PROMPT not in enqueued.to_json()


async def test_an_attempt_that_fails_says_of_what_and_no_more_and_the_next_is_in_the_same_trace(
    producer: Producer, redis_url: str, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    complete = SimulatedBackend.complete

    async def once_broken(self: SimulatedBackend, call: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise BackendUnavailable(f"cannot do {PROMPT}")
        return await complete(self, call)

    monkeypatch.setattr(SimulatedBackend, "complete", once_broken)
    async with worker(simulated(), redis_url):
        result = await producer.wait(await producer.enqueue(request(PROMPT)), timeout=60)
    assert result.ok
    failed, *_, done = named(spans, "chat")
    assert (facts(failed)["error.type"], failed.status.status_code) == ("backend_unavailable", StatusCode.ERROR)
    assert facts(done)["windfall.attempt"] == len(result.attempts)
    jobs = named(spans, "job")
    assert facts(jobs[0])["windfall.outcome"] == "retry"
    assert len({span.context.trace_id for span in spans.get_finished_spans() if span.context}) == 1
    assert PROMPT not in "".join(span.to_json() for span in spans.get_finished_spans())


async def test_a_trace_that_cannot_be_read_costs_the_job_nothing(
    producer: Producer, redis: ArqRedis, redis_url: str, spans: InMemorySpanExporter
) -> None:
    names = [await producer.enqueue(request()) for _ in range(4)]
    broken: list[Any] = [5, {"traceparent": {}}, {"traceparent": "x" * 5000}, {"traceparent": "00-zz-zz-01"}]
    for name, found in zip(names, broken, strict=True):
        message = json.loads(await redis.get(keys.PAYLOAD + name) or b"")
        await redis.set(keys.PAYLOAD + name, json.dumps(message | {"trace": found}))
    async with worker(simulated(), redis_url):
        results = [await producer.wait(name, timeout=60) for name in names]
    assert all(result.ok for result in results)
    assert [span.parent for span in named(spans, "job")] == [None] * 4


async def test_where_nobody_traces_a_job_is_the_same_to_the_byte(producer: Producer, redis: ArqRedis) -> None:
    name = await producer.enqueue(request())
    payload = await redis.get(keys.PAYLOAD + name) or b""
    assert payload == encode_job(request(), decode_job(payload).et)
    assert b"trace" not in payload


def test_a_program_that_does_not_trace_loads_nothing_of_opentelemetry() -> None:
    program = (
        "import sys, windfall.cli, windfall_worker.main, windfall.telemetry.tracing as tracing\n"
        "assert tracing.tracer() is None and tracing.carrier() is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


async def test_a_call_of_the_cloud_is_a_clients_span_under_the_same_job_and_holds_no_key(
    producer: Producer,
    redis_url: str,
    spans: InMemorySpanExporter,
    fault_server: FaultServer,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    fault_server.plan(model, {"status": 500, "text": f"{KEY} {PROMPT}"}, then={})
    body = {"protocol": "openai", "base_url": fault_server.url, "api_key_env": "TEST_KEY", "max_retries": 0}
    providers = {name: ProviderSettings.model_validate(body) for name in ("first", "second")}
    served = ModelSettings(name="m", cloud=(f"first:{model}", f"second:{model}"))
    async with worker(WorkerSettings(models=(served,), providers=providers), redis_url):
        result = await producer.wait(await producer.enqueue(request(PROMPT, route="cloud")), timeout=60)
    assert result.ok
    (job,), (failed, done) = named(spans, "job"), named(spans, "chat")
    assert is_child(failed, job)
    assert is_child(done, job)
    assert (failed.kind, done.kind) == (SpanKind.CLIENT, SpanKind.CLIENT)
    assert [facts(span)["gen_ai.provider.name"] for span in (failed, done)] == ["first", "second"]
    assert facts(failed)["error.type"] == "backend_unavailable"
    assert facts(done)["windfall.request_id"] == result.attempts[-1].request_id
    assert facts(done)["gen_ai.request.model"] == model
    said = "".join(span.to_json() for span in spans.get_finished_spans())
    assert KEY not in said
    assert PROMPT not in said
