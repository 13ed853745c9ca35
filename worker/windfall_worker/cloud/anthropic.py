"""Anthropic's Messages API, with requests and answers in OpenAI's format.

`anthropic_request` translates what goes out, and refuses by name what has no counterpart; `anthropic_response`
translates what comes back.
Source: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

from windfall.errors import InvalidResponse
from windfall.request import CompletionRequest
from windfall_worker.cloud.answers import Progress, event_of
from windfall_worker.cloud.anthropic_request import messages_body, room_for_answer
from windfall_worker.cloud.anthropic_response import StreamTranslator, chat_completion
from windfall_worker.cloud.completion import as_chunk
from windfall_worker.cloud.options import CallOptions
from windfall_worker.cloud.provider import ProviderClient

VERSION: Final = "2023-06-01"


class AnthropicClient(ProviderClient):
    """Calls `/v1/messages`; `base_url` may end in `/v1` or not."""

    @property
    def known_fields(self) -> frozenset[str]:
        """The user's id, how the model should think and has thought, and what it should cache."""
        return frozenset({"user", "thinking", "cache_control", "thinking_blocks"})

    def _build_headers(self) -> dict[str, str]:
        return {"anthropic-version": VERSION} | ({"x-api-key": self._api_key} if self._api_key else {})

    def ignored(self, request: CompletionRequest) -> tuple[str, ...]:
        """Nothing of a body in Anthropic's own words; of OpenAI's, see the base."""
        return () if request.anthropic else super().ignored(request)

    async def completion(
        self, request: CompletionRequest, model: str, *, stream: bool, options: CallOptions | None = None
    ) -> dict[str, Any] | AsyncGenerator[dict[str, Any], None]:
        """See the base. A body in Anthropic's own words goes as it is."""
        given = request.anthropic
        if given is None:
            return await super().completion(request, model, stream=stream, options=options)
        body = given.body()
        body.setdefault("max_tokens", room_for_answer(body.get("thinking")))
        return await self._message({"model": model} | body, options, stream=stream)

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
        """See the base. Anthropic requires `max_tokens`: the default is `anthropic_request.DEFAULT_MAX_TOKENS`."""
        body = messages_body(
            {"model": model, "messages": list(messages), "max_tokens": max_tokens, "temperature": temperature} | kwargs
        )
        return await self._message(body, options, stream=stream)

    async def _message(
        self, body: dict[str, Any], options: CallOptions | None, *, stream: bool
    ) -> dict[str, Any] | AsyncGenerator[dict[str, Any], None]:
        if not stream:
            return chat_completion(await self._answer(self._path, body, options))
        return self._chunks(body | {"stream": True}, options)

    @property
    def _path(self) -> str:
        return "messages" if urlsplit(self.base_url).path.rstrip("/").endswith("/v1") else "v1/messages"

    async def _chunks(self, body: dict[str, Any], options: CallOptions | None) -> AsyncGenerator[dict[str, Any], None]:
        translator = StreamTranslator()
        async with aclosing(self._events(self._path, body, options)) as lines:
            async for line in lines:
                event = event_of(line, self._errors)
                if event.get("type") == "message":  # a whole answer, from a server that does not stream
                    yield as_chunk(chat_completion(event))
                else:
                    for chunk in translator.chunks(event):
                        yield chunk

    def _check_answer(self, answer: dict[str, Any]) -> None:
        if not isinstance(answer.get("content"), list) or answer.get("type") != "message":
            raise InvalidResponse(f"{self._errors.name} answered without content: that is not a message")

    def _progress(self, line: str) -> Progress:
        event = event_of(line, self._errors)
        if event.get("type") == "message_stop":
            return Progress.LAST
        if event.get("type") == "message_delta" and (event.get("delta") or {}).get("stop_reason"):
            return Progress.ENOUGH
        return Progress.NOTHING if event.get("type") == "ping" else Progress.MORE
