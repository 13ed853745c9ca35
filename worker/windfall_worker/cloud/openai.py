"""OpenAI's chat completions, and every server that speaks them (vLLM, llama.cpp, another Mac's mlx_lm.server, …).

The body goes out as it was given: `max_tokens` and `max_completion_tokens` each under its own name, and fields that
only some servers know (`top_k`, `min_p`, …) too; a server that does not know one says so.
Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

from windfall.errors import InvalidResponse
from windfall.fields import HINTS, PASSED_OVER
from windfall_worker.cloud.answers import Progress, event_of
from windfall_worker.cloud.options import CallOptions
from windfall_worker.cloud.provider import ProviderClient

_ENDPOINT: Final = "chat/completions"
_OPENAI: Final = "api.openai.com"
_DONE: Final = "data: [DONE]"


class OpenAIClient(ProviderClient):
    """Calls `{base_url}/chat/completions`; `base_url` ends in `/v1` for OpenAI itself."""

    @property
    def known_fields(self) -> frozenset[str]:
        """OpenAI itself knows its own alone; other servers may refuse what they do not know, so they get few.

        Of the fields inside messages they get what gateways to other models take: a row that has them is meant for one.
        """
        if urlsplit(self.base_url).hostname == _OPENAI:
            return (PASSED_OVER - {"ignore_eos"}) | {"prompt_cache_breakpoint"}
        return frozenset({"ignore_eos", "user", "verbosity"}) | (HINTS - {"prompt_cache_breakpoint"})

    def _build_headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._api_key}"} if self._api_key else {}

    async def chat_completion(
        self,
        messages: Sequence[dict[str, Any]],
        model: str,
        max_tokens: int | None = None,
        temperature: float | None = 1.0,
        stream: bool = False,  # noqa: FBT001, FBT002 - the published signature
        *,
        options: CallOptions | None = None,
        **kwargs: Any,
    ) -> dict[str, Any] | AsyncGenerator[dict[str, Any], None]:
        """See the base. A stream is always asked for its usage, which comes in a last chunk without choices."""
        given = {"model": model, "messages": list(messages), "max_tokens": max_tokens, "temperature": temperature}
        body: dict[str, Any] = {name: value for name, value in (given | kwargs).items() if value is not None}
        if not stream:
            return await self._answer(_ENDPOINT, body, options)
        body["stream"] = True
        body["stream_options"] = body.get("stream_options", {}) | {"include_usage": True}
        return self._chunks(body, options)

    async def _chunks(self, body: dict[str, Any], options: CallOptions | None) -> AsyncGenerator[dict[str, Any], None]:
        async with aclosing(self._events(_ENDPOINT, body, options)) as lines:
            async for line in lines:
                if line != _DONE:
                    yield event_of(line, self._errors)

    def _check_answer(self, answer: dict[str, Any]) -> None:
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise InvalidResponse(f"{self._errors.name} answered without choices: that is not a completion")
        if not isinstance(choices[0].get("message"), dict):
            raise InvalidResponse(f"{self._errors.name} answered with a choice without a message")

    def _progress(self, line: str) -> Progress:
        if line == _DONE:
            return Progress.LAST
        choices = event_of(line, self._errors).get("choices") or []
        # Not every server sends [DONE]; a finish_reason says as well that the completion is whole.
        finished = any(isinstance(choice, dict) and choice.get("finish_reason") for choice in choices)
        return Progress.ENOUGH if finished else Progress.MORE
