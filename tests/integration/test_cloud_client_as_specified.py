"""The base class as it is specified, by a subclass that knows nothing but the specification, against a real server."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import traceback
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
import pybreaker
import pytest
from httpx_retries import RetryTransport

from faultserver import FaultServer
from helpers.waiting import until
from windfall_worker.cloud.client import CloudBackendClient

KEY = "sk-test-0123456789abcdef"
ENDPOINT = "/chat/completions"


class SpecifiedClient(CloudBackendClient):
    """The subclass of the specification."""

    def _build_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._api_key}", "Content-Type": "application/json"}

    async def chat_completion(
        self,
        messages: list[dict[str, Any]],
        model: str,
        max_tokens: int,
        temperature: float = 1.0,
        stream: bool = False,  # noqa: FBT001, FBT002 - the published signature
        **kwargs: Any,
    ) -> dict[str, Any] | AsyncGenerator[str, None]:
        body = {"model": model, "messages": messages, "max_tokens": max_tokens, "temperature": temperature} | kwargs
        if stream:
            return self._stream_with_circuit_breaker(ENDPOINT, body | {"stream": True})
        response = await self._post_with_circuit_breaker(ENDPOINT, body)
        answer: dict[str, Any] = response.json()
        return answer


@pytest.fixture
async def client(fault_server: FaultServer) -> AsyncIterator[SpecifiedClient]:
    made = SpecifiedClient(
        fault_server.url, KEY, max_retries=0, circuit_breaker_fail_max=3, circuit_breaker_reset_timeout=60
    )
    yield made
    await made.close()


async def fail(client: SpecifiedClient, model: str, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(httpx.HTTPStatusError):
            await client._post_with_circuit_breaker(ENDPOINT, {"model": model})


async def test_initialisation(fault_server: FaultServer) -> None:
    client = SpecifiedClient(
        fault_server.url + "/",
        KEY,
        max_retries=7,
        backoff_factor=0.25,
        timeout=90.0,
        circuit_breaker_fail_max=4,
        circuit_breaker_reset_timeout=45,
    )
    assert client.base_url == fault_server.url + "/"
    assert client._api_key == KEY
    assert isinstance(client._api_key, str)
    assert isinstance(client._client, httpx.AsyncClient)
    assert client._client.timeout == httpx.Timeout(90.0, connect=10.0)
    assert client._client.headers["Authorization"] == f"Bearer {KEY}"
    transport = client._client._transport
    assert isinstance(transport, RetryTransport)
    assert transport.retry.total == 7
    assert transport.retry.backoff_factor == 0.25
    assert transport.retry.status_forcelist == {429, 500, 502, 503, 504}
    assert "POST" in transport.retry.allowed_methods
    assert client._circuit_breaker.fail_max == 4
    assert client._circuit_breaker.reset_timeout == 45
    await client.close()


async def test_the_defaults_are_the_specified_ones(fault_server: FaultServer) -> None:
    async with SpecifiedClient(fault_server.url, KEY) as client:
        transport = client._client._transport
        assert isinstance(transport, RetryTransport)
        assert (transport.retry.total, transport.retry.backoff_factor) == (3, 0.5)
        assert client._client.timeout == httpx.Timeout(60.0, connect=10.0)
        assert (client._circuit_breaker.fail_max, client._circuit_breaker.reset_timeout) == (5, 30)


async def test_the_circuit_is_closed_at_first(client: SpecifiedClient) -> None:
    assert client._circuit_breaker.current_state == "closed"
    assert client._circuit_breaker.fail_counter == 0
    assert not client.is_circuit_open


async def test_the_circuit_opens_after_fail_max_failures(
    client: SpecifiedClient, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then={"status": 500})
    await fail(client, model, 2)
    assert client._circuit_breaker.current_state == "closed"
    await fail(client, model)
    assert client._circuit_breaker.current_state == "open"
    assert client.is_circuit_open


async def test_an_open_circuit_refuses_without_a_call(
    client: SpecifiedClient, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then={"status": 500})
    await fail(client, model, 3)
    for _ in range(3):
        with pytest.raises(pybreaker.CircuitBreakerError):
            await client._post_with_circuit_breaker(ENDPOINT, {"model": model})
        with pytest.raises(pybreaker.CircuitBreakerError):
            await anext(client._stream_with_circuit_breaker(ENDPOINT, {"model": model}))
    assert fault_server.hits(model) == 3


async def test_a_circuit_that_is_opened_by_hand_refuses(
    client: SpecifiedClient, fault_server: FaultServer, model: str
) -> None:
    client._circuit_breaker.open()
    assert client.is_circuit_open
    with pytest.raises(pybreaker.CircuitBreakerError):
        await client._post_with_circuit_breaker(ENDPOINT, {"model": model})
    client._circuit_breaker.close()
    await client._post_with_circuit_breaker(ENDPOINT, {"model": model})
    assert fault_server.hits(model) == 1


async def test_a_half_open_circuit_is_closed_by_a_call_that_succeeds(fault_server: FaultServer, model: str) -> None:
    fault_server.plan(model, {"status": 500})
    async with SpecifiedClient(
        fault_server.url, KEY, 0, circuit_breaker_fail_max=1, circuit_breaker_reset_timeout=0.01
    ) as client:
        await fail(client, model)
        while client.is_circuit_open:
            pass
        lines = client._stream_with_circuit_breaker(ENDPOINT, {"model": model, "stream": True})
        assert {client._circuit_breaker.current_state async for _ in lines} == {"half-open"}
        assert client._circuit_breaker.current_state == "closed"


async def test_a_success_is_recorded(client: SpecifiedClient, fault_server: FaultServer, model: str) -> None:
    heard: list[str] = []

    class Listener(pybreaker.CircuitBreakerListener):
        def success(self, cb: Any) -> None:  # noqa: ARG002 - pybreaker's name
            heard.append("success")

        def failure(self, cb: Any, exc: Any) -> None:  # noqa: ARG002 - pybreaker's names
            heard.append("failure")

    client._circuit_breaker.add_listener(Listener())
    response = await client._post_with_circuit_breaker(ENDPOINT, {"model": model})
    assert isinstance(response, httpx.Response)
    assert response.json()["choices"][0]["message"]["content"] == "a good answer"
    fault_server.plan(model, then={"status": 502})
    await fail(client, model)
    assert heard == ["success", "failure"]


async def test_a_failure_is_recorded(client: SpecifiedClient, fault_server: FaultServer, model: str) -> None:
    fault_server.plan(model, then={"status": 500})
    await fail(client, model, 2)
    assert client._circuit_breaker.fail_counter == 2


async def test_close_closes_the_client(client: SpecifiedClient) -> None:
    await client.close()
    assert client._client.is_closed
    await client.close()


async def test_the_subclass_authenticates(client: SpecifiedClient, fault_server: FaultServer, model: str) -> None:
    answer = await client.chat_completion([{"role": "user", "content": "hi"}], model, 5, top_p=0.5)
    assert isinstance(answer, dict)
    (seen,) = fault_server.seen(model)
    assert seen["headers"]["authorization"] == f"Bearer {KEY}"
    assert seen["path"].endswith("/v1/chat/completions")
    assert seen["body"]["top_p"] == 0.5


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_an_error_status_is_httpxs_error_with_its_answer(
    client: SpecifiedClient, fault_server: FaultServer, model: str, status: int
) -> None:
    fault_server.plan(model, then={"status": status})
    with pytest.raises(httpx.HTTPStatusError) as caught:
        await client._post_with_circuit_breaker(ENDPOINT, {"model": model})
    assert caught.value.response.status_code == status
    assert caught.value.response.json()["error"]["type"] == "planned"
    with pytest.raises(httpx.HTTPStatusError):
        await anext(client._stream_with_circuit_breaker(ENDPOINT, {"model": model}))


async def test_a_status_that_passes_is_sent_again_by_the_transport(fault_server: FaultServer, model: str) -> None:
    async with SpecifiedClient(fault_server.url, KEY, max_retries=2, backoff_factor=0.01) as client:
        fault_server.plan(model, {"status": 429}, {"status": 503})
        assert (await client._post_with_circuit_breaker(ENDPOINT, {"model": model})).is_success
        assert fault_server.hits(model) == 3
        assert client._circuit_breaker.fail_counter == 0
        fault_server.plan(model, {"status": 502})
        assert (await client._client.post(f"{client.base_url}{ENDPOINT}", json={"model": model})).is_success
        assert fault_server.hits(model) == 2


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"delay": 60}, httpx.ReadTimeout),
        ({"cut": "before"}, httpx.RemoteProtocolError),
        ({"cut": "body"}, httpx.RemoteProtocolError),
        ({"raw": f"{KEY} is no HTTP\r\n\r\n"}, httpx.RemoteProtocolError),
    ],
)
async def test_httpxs_errors_come_as_they_are_and_count(
    fault_server: FaultServer, model: str, step: dict[str, Any], expected: type[Exception]
) -> None:
    async with SpecifiedClient(fault_server.url, KEY, max_retries=0, timeout=0.3) as client:
        fault_server.plan(model, then=step)
        with pytest.raises(expected) as caught:
            await client._post_with_circuit_breaker(ENDPOINT, {"model": model})
        assert KEY not in "".join(traceback.format_exception(caught.value))
        assert client._circuit_breaker.fail_counter == 1


async def test_nobody_listening_is_a_connect_error() -> None:
    gone = FaultServer()
    gone.stop()
    async with SpecifiedClient(gone.url, KEY, max_retries=0) as client:
        with pytest.raises(httpx.ConnectError):
            await client._post_with_circuit_breaker(ENDPOINT, {})
        assert client._circuit_breaker.fail_counter == 1


async def test_a_stream_has_every_line_and_counts_when_it_was_read(
    client: SpecifiedClient, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then={"events": [": a comment\n\n", "event: e\ndata: 1\n\n", "data: 2\n\n", "data: end"]})
    stream = await client.chat_completion([], model, 5, stream=True)
    assert not isinstance(stream, dict)
    lines = [line async for line in stream]
    assert lines == [": a comment", "", "event: e", "data: 1", "", "data: 2", "", "data: end"]


async def test_a_stream_that_breaks_is_a_failure_and_one_that_is_left_is_nothing(
    client: SpecifiedClient, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, {"stop_after": 2}, then={"event_delay": 0.1})
    with pytest.raises(httpx.RemoteProtocolError):
        async for _ in client._stream_with_circuit_breaker(ENDPOINT, {"model": model, "stream": True}):
            pass
    assert client._circuit_breaker.fail_counter == 1
    stream = client._stream_with_circuit_breaker(ENDPOINT, {"model": model, "stream": True})
    await anext(stream)
    await stream.aclose()
    assert client._circuit_breaker.fail_counter == 1
    until(lambda: fault_server.seen(model)[-1]["end"] == "client gone")


class HeaderOfItsOwn(SpecifiedClient):
    """A subclass whose key goes where httpx does not look for one."""

    def _build_headers(self) -> dict[str, str]:
        return {"x-custom-token": f"token={self._api_key}"}


@pytest.mark.parametrize("subclass", [SpecifiedClient, HeaderOfItsOwn])
async def test_the_key_is_private(subclass: type[SpecifiedClient], fault_server: FaultServer, model: str) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logging.getLogger().addHandler(handler)
    async with subclass(fault_server.url, KEY, max_retries=0, timeout=0.3) as client:
        logging.getLogger().warning("%r %r %r", client, vars(client), client._client.headers)
        for step in ({"status": 401, "json": {"error": KEY}}, {"delay": 60}, {"cut": "before"}, {"raw": KEY}):
            fault_server.plan(model, then=step)
            with pytest.raises(httpx.HTTPError) as caught:
                await client._post_with_circuit_breaker(ENDPOINT, {"model": model})
            logging.getLogger().error("failed", exc_info=caught.value)
            with_locals = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
            # This file's own constant is a global and stays out of it; what is left are the frames below it.
            written.write("".join(with_locals.format()).replace(repr(step), ""))
            assert KEY in str(fault_server.seen(model)[0]["headers"])
        for thing in (client, client._api_key, client._client.headers):
            with pytest.raises(TypeError):
                pickle.dumps(thing)
        assert copy.deepcopy(client._api_key) == KEY
    logging.getLogger().removeHandler(handler)
    assert len(written.getvalue()) > 1000
    assert KEY not in written.getvalue()
