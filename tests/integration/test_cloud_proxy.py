"""Calls go by the proxy that the environment names, as every HTTP client's do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faultserver import FaultServer
from faultserver.http_proxy import Proxy
from windfall.errors import BackendUnavailable, ConfigError
from windfall_worker.cloud.openai import OpenAIClient

HI = [{"role": "user", "content": "hi"}]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as running:
        yield running


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_plain_http_goes_by_the_proxy(
    fault_server: FaultServer, model: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, f"http://user:s3cret@{proxy.address}")
    async with OpenAIClient(fault_server.url, "sk-test", max_retries=0) as ours:
        answer = await ours.chat_completion(HI, model, 5)
        assert "s3cret" not in repr(vars(ours))
    assert isinstance(answer, dict)
    assert answer["choices"][0]["message"]["content"] == "a good answer"
    assert proxy.target() == f"POST {fault_server.url}/chat/completions Basic dXNlcjpzM2NyZXQ="


async def test_tls_goes_through_a_tunnel_and_a_refused_one_cost_nothing(
    model: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.address)  # without a scheme, as curl takes it
    async with OpenAIClient("https://api.example/v1", "sk-test", max_retries=0) as ours:
        with pytest.raises(BackendUnavailable, match="403 Forbidden"):
            await ours.chat_completion(HI, model, 5)
    assert proxy.target() == "CONNECT api.example:443 -"


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "example.com, 127.0.0.1", "*"])
async def test_no_proxy_names_what_is_called_directly(
    fault_server: FaultServer, model: str, monkeypatch: pytest.MonkeyPatch, no_proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    async with OpenAIClient(fault_server.url, "sk-test", max_retries=0) as ours:
        assert await ours.chat_completion(HI, model, 5)


async def test_a_proxy_that_is_down_is_told_of(
    fault_server: FaultServer, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:s3cret@127.0.0.1:1")
    async with OpenAIClient(fault_server.url, "sk-test", max_retries=0) as ours:
        with pytest.raises(BackendUnavailable) as caught:
            await ours.chat_completion(HI, model, 5)
    assert "s3cret" not in str(caught.value)
    assert not fault_server.hits(model)


@pytest.mark.parametrize(
    "address", ["ftp://user:s3cret@proxy", "http://user:s3cret@", "http://a:b:c", "socks5://proxy:1"]
)
def test_what_is_no_proxy_is_refused_before_any_call(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", address)
    with pytest.raises(ConfigError, match="HTTP_PROXY") as caught:
        OpenAIClient("http://api.example/v1", None)
    assert "s3cret" not in str(caught.value)
