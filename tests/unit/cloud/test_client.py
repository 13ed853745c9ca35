"""What a client takes, and what it keeps to itself."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest
from pydantic import SecretStr

from windfall.errors import BackendUnavailable, ConfigError, RequestRejected
from windfall_worker.cloud.anthropic import AnthropicClient
from windfall_worker.cloud.client import CloudBackendClient
from windfall_worker.cloud.openai import OpenAIClient

KEY = "sk-very-secret-0123456789"
BOTH = pytest.mark.parametrize("protocol", [OpenAIClient, AnthropicClient])


def test_the_base_is_abstract_and_has_the_published_signature() -> None:
    assert CloudBackendClient.__abstractmethods__ == {"_build_headers", "chat_completion"}
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(CloudBackendClient.__init__).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and name != "self"
    }
    assert defaults == {
        "base_url": inspect.Parameter.empty,
        "api_key": inspect.Parameter.empty,
        "max_retries": 3,
        "backoff_factor": 0.5,
        "timeout": 60.0,
        "circuit_breaker_fail_max": 5,
        "circuit_breaker_reset_timeout": 30,
    }
    names = list(inspect.signature(CloudBackendClient.chat_completion).parameters)
    assert names[1:6] == ["messages", "model", "max_tokens", "temperature", "stream"]


@BOTH
def test_the_key_is_in_no_repr_and_no_dump(protocol: type[CloudBackendClient]) -> None:
    client = protocol("https://api.example/v1", KEY)
    client.endpoint("m")
    seen: set[int] = set()

    def dump(thing: Any, depth: int = 0) -> str:
        """What a debugger or an error reporter would print: the repr of everything reachable by vars()."""
        if id(thing) in seen or depth > 6 or not hasattr(thing, "__dict__") or isinstance(thing, SecretStr):
            return repr(thing)
        seen.add(id(thing))
        return repr(thing) + "".join(f"{name}={dump(value, depth + 1)}\n" for name, value in vars(thing).items())

    assert KEY not in dump(client)
    assert "api.example" in repr(client)


@BOTH
def test_a_key_with_a_newline_at_its_end_is_the_key(protocol: type[CloudBackendClient]) -> None:
    headers = protocol("https://api.example/v1", f"  {KEY}\n")._build_headers()
    assert any(value.endswith(KEY) for value in headers.values())


@pytest.mark.parametrize("key", ["sk-a b", "sk-ä", "sk-a\nb", "sk-\x00"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OpenAIClient("https://api.example/v1", key)
    assert key not in str(caught.value)


@BOTH
@pytest.mark.parametrize("key", [None, "", SecretStr("")])
def test_without_a_key_none_is_sent(protocol: type[CloudBackendClient], key: Any) -> None:
    headers = protocol("http://mac.local:8080/v1", key)._build_headers()
    assert not {"authorization", "x-api-key"} & headers.keys()


@pytest.mark.parametrize("url", ["api.example/v1", "ftp://api.example", "https://", "https://u:secret@api.example"])
def test_a_base_url_that_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OpenAIClient(url, KEY)
    assert "secret" not in str(caught.value)


def test_one_breaker_for_each_model_at_an_address() -> None:
    client = OpenAIClient("https://api.example:8443/v1/", KEY)
    assert client.endpoint("a").breaker.name == "https://api.example:8443/a"
    assert client.endpoint("a") is client.endpoint("a")
    assert client.endpoint("a") is not client.endpoint("b")
    assert not client.is_circuit_open


async def test_a_closed_client_says_so_and_may_be_closed_again() -> None:
    client = OpenAIClient("https://api.example/v1", KEY)
    await client.close()
    await client.close()
    with pytest.raises(BackendUnavailable, match="closed"):
        await client.chat_completion([], "m", 1)


@BOTH
async def test_text_that_no_json_can_hold_is_the_requests_fault(protocol: type[CloudBackendClient]) -> None:
    async with protocol("http://127.0.0.1:1/v1", KEY) as client:
        with pytest.raises(RequestRejected, match="JSON"):
            await client.chat_completion([{"role": "user", "content": "half a pair: \ud800"}], "m", 1)


def test_errors_survive_pickling_no_worse_than_any_exception() -> None:
    error = BackendUnavailable("down", status=503)
    assert str(pickle.loads(pickle.dumps(error))) == "down"  # noqa: S301 - made on the line above
