"""The key goes to the endpoint and nowhere else: logs, errors, tracebacks, reprs and Redis are grepped."""

from __future__ import annotations

import io
import logging
import traceback
from typing import Any

import pytest
from arq import ArqRedis

from faultserver import FaultServer
from windfall.errors import BackendError
from windfall.telemetry import logs
from windfall_worker.cloud.anthropic import AnthropicClient
from windfall_worker.cloud.openai import OpenAIClient
from windfall_worker.cloud.options import CallOptions
from windfall_worker.cloud.provider import ProviderClient

KEY = "sk-very-secret-0123456789abcdef"
PROMPT = "a prompt that is nobody's business"

STEPS: list[dict[str, Any]] = [
    {},
    {"status": 401, "json": {"error": {"message": f"Incorrect API key provided: {KEY}"}}},
    {"status": 400, "text": f"you sent {KEY}"},
    {"status": 503, "headers": {"retry-after": "0.01"}},
    {"status": 302, "headers": {"location": f"http://x/?key={KEY}"}, "text": ""},
    {"raw": f"{KEY} is no HTTP\r\n\r\n"},
    {"text": f"<html>{KEY}"},
    {"json": {"error": {"message": KEY, "type": KEY}}},
    {"json": {"choices": [{"message": {"content": 5, "tool_calls": KEY}}]}},
    {"events": [f"data: {KEY}\n\n"]},
    {"events": [f'data: {{"error": {{"message": "{KEY}"}}}}\n\n']},
    {"cut": "before"},
    {"cut": "body"},
    {"stop_after": 2},
    {"delay": 60},
]


@pytest.mark.parametrize("protocol", [OpenAIClient, AnthropicClient])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_key_and_the_prompt_are_nowhere_but_in_the_request(
    protocol: type[ProviderClient],
    stream: bool,  # noqa: FBT001 - pytest hands it over by name
    fault_server: FaultServer,
    model: str,
    redis: ArqRedis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(1)
    for name in ("httpx", "httpcore", "httpx_retries", "windfall_worker"):
        logging.getLogger(name).setLevel(1)
    written: list[str] = []
    shapes: dict[logs.Shape, io.StringIO] = {"human": io.StringIO(), "json": io.StringIO()}
    handlers = [logging.StreamHandler(stream) for stream in shapes.values()]
    for handler, shape in zip(handlers, shapes, strict=True):
        handler.setFormatter(logs.formatter(shape))
        logging.getLogger().addHandler(handler)
    client = protocol(fault_server.url, KEY, 1, 0.01, timeout=0.5, circuit_breaker_fail_max=1000, redis=redis)
    async with client:
        for step in STEPS:
            fault_server.plan(model, then=step)
            try:
                answer = await client.chat_completion(
                    [{"role": "user", "content": PROMPT}], model, 5, stream=stream, options=CallOptions(timeout=5)
                )
                if not isinstance(answer, dict):
                    async for _ in answer:
                        pass
            except BackendError as exc:
                written += [str(exc), repr(exc), "".join(traceback.format_exception(exc))]
            sent = str(fault_server.seen(model)[0])
            assert KEY in sent
            assert PROMPT in sent
        written.append(repr(client) + repr(vars(client)))
    for handler in handlers:
        logging.getLogger().removeHandler(handler)
    lines = [line for stream in shapes.values() for line in stream.getvalue().splitlines()]
    assert len(lines) > 100
    written += [line for line in lines if "receive_response_headers." not in line]
    # What the endpoint itself sends back as headers is logged by httpcore, and is not ours to hide.
    records = [record for record in caplog.records if not record.getMessage().startswith("receive_response_headers.")]
    written += [f"{record.name} {record.getMessage()} {record.exc_text or ''}" for record in records]
    assert len(caplog.records) > 50, "the logs were not on"
    async for key in redis.scan_iter():
        kind = (await redis.type(key)).decode()
        store: Any = redis
        value = await (store.hgetall(key) if kind == "hash" else store.dump(key))
        written.append(f"{key!r} {value!r}")
    assert not [line for line in written if KEY in line]
    assert not [line for line in written if PROMPT in line]
