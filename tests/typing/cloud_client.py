"""A subclass of `CloudBackendClient` with the specified signatures. `make check` runs mypy --strict over this file."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, assert_type

import httpx

from windfall_worker.cloud.client import CloudBackendClient


class SpecifiedClient(CloudBackendClient):
    """As somebody writes it who has read the specification and nothing else."""

    def _build_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._api_key}"}

    async def chat_completion(
        self,
        messages: list[dict[str, Any]],
        model: str,
        max_tokens: int,
        temperature: float = 1.0,
        stream: bool = False,  # noqa: FBT001, FBT002 - the specified signature
        **kwargs: Any,
    ) -> dict[str, Any] | AsyncGenerator[dict[str, Any], None]:
        """Whole, or in chunks."""
        body = {"model": model, "messages": messages, "max_tokens": max_tokens, "temperature": temperature, **kwargs}
        if stream:
            return self._chunks(body)
        response = await self._post_with_circuit_breaker("/chat/completions", body)
        assert_type(response, httpx.Response)
        answer: dict[str, Any] = response.json()
        return answer

    async def _chunks(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        async for line in self._stream_with_circuit_breaker("/chat/completions", body):
            assert_type(line, str)
            yield {"line": line}


async def use() -> None:
    """Every attribute that the specification names."""
    client = SpecifiedClient("https://api.example/v1", "key", 3, 0.5, 60.0, 5, 30)
    assert_type(client.base_url, str)
    assert_type(client._api_key, str)
    assert_type(client._client, httpx.AsyncClient)
    assert_type(client._circuit_breaker.current_state, str)
    assert_type(client._circuit_breaker.fail_counter, int)
    assert_type(client._circuit_breaker.fail_max, int)
    assert_type(client._circuit_breaker.reset_timeout, float)
    assert_type(client.is_circuit_open, bool)
    await client.close()
