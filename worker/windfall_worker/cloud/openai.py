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

from windfall.errors import BackendError, InvalidResponse
from windfall.fields import HINTS, PASSED_OVER
from windfall_worker.cloud.answers import Progress, event_of
from windfall_worker.cloud.completion import as_chunk
from windfall_worker.cloud.finish import broken_off
from windfall_worker.cloud.options import CallOptions
from windfall_worker.cloud.provider import ProviderClient
from windfall_worker.cloud.sse import DONE

_ENDPOINT: Final = "chat/completions"
_OPENAI: Final = "api.openai.com"


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
                if line != DONE:
                    yield as_chunk(event_of(line, self._errors))

    def _check_answer(self, answer: dict[str, Any]) -> None:
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise InvalidResponse(f"{self._errors.name} answered without choices: that is not a completion")
        if not isinstance(choices[0].get("message"), dict):
            raise InvalidResponse(f"{self._errors.name} answered with a choice without a message")
        if failed := broken_off(choices[0].get("finish_reason")):
            raise failed

    def _failure(self, line: str) -> BackendError | None:
        choices = event_of(line, self._errors).get("choices") or []
        found = (broken_off(choice.get("finish_reason")) for choice in choices if isinstance(choice, dict))
        return next(filter(None, found), None)

    def _progress(self, line: str) -> Progress:
        if line == DONE:
            return Progress.LAST
        choices = [one for one in event_of(line, self._errors).get("choices") or [] if isinstance(one, dict)]
        # Not every server sends [DONE]; a finish_reason says as well that the completion is whole.
        if any(choice.get("finish_reason") for choice in choices):
            return Progress.ENOUGH
        # The first chunk names the role, long before a model that thinks says anything.
        deltas = [delta for choice in choices if isinstance(delta := choice.get("delta"), dict)]
        speaks = any(value for delta in deltas for name, value in delta.items() if name != "role")
        return Progress.MORE if speaks else Progress.NOTHING
