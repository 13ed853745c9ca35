"""Turns answers in OpenAI's format, whole or in chunks, into the contract's `Completion`."""

from __future__ import annotations

import time
from typing import Any, Final

from pydantic import ValidationError

from windfall.errors import InvalidResponse
from windfall.result import Completion, Delta, Usage

#: Older servers send `function_call`. An unknown reason becomes `stop`: the completion did end.
_FINISH: Final = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


def completion_of(answer: dict[str, Any], **more: Any) -> Completion:
    """A `chat.completion` object. `more` are further fields of the completion. Raises `InvalidResponse`."""
    choice = answer["choices"][0]
    message = choice["message"]
    try:
        return Completion.model_validate(
            {
                "content": message.get("content"),
                "reasoning": message.get("reasoning") or message.get("reasoning_content"),
                "tool_calls": [
                    {"id": call["id"], "function": {key: call["function"][key] for key in ("name", "arguments")}}
                    for call in message.get("tool_calls") or []
                ],
                "refusal": message.get("refusal"),
                "finish_reason": _FINISH.get(choice.get("finish_reason") or "", "stop"),
                "logprobs": (choice.get("logprobs") or {}).get("content"),
                "usage": _usage(answer.get("usage") or {}),
                "model": answer.get("model"),
                **more,
            }
        )
    except (ValidationError, AttributeError, KeyError, TypeError, RecursionError) as exc:
        # pydantic's own message would repeat the completion.
        raise InvalidResponse(f"the endpoint's answer is not a chat completion ({type(exc).__name__})") from exc


class ChunkCollector:
    """Assembles a stream's chunks, and says what each adds."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._first_at: float | None = None
        self._answer: dict[str, Any] = {}
        self._message: dict[str, Any] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._logprobs: list[Any] = []
        self._finish: str | None = None

    def add(self, chunk: dict[str, Any]) -> Delta | None:
        """Add a chunk. Returns what it adds to the text, if anything. Raises `InvalidResponse`."""
        try:
            return self._add(chunk)
        except (AttributeError, KeyError, TypeError) as exc:  # a string where an object should be, and the like
            raise InvalidResponse(
                f"the endpoint sent a chunk that is not part of a chat completion ({type(exc).__name__})"
            ) from exc

    def _add(self, chunk: dict[str, Any]) -> Delta | None:
        self._answer |= {key: chunk[key] for key in ("model", "usage") if chunk.get(key)}
        choices = chunk.get("choices") or []
        if not choices:
            return None
        choice = choices[0]
        delta = choice.get("delta") or {}
        self._finish = choice.get("finish_reason") or self._finish
        self._logprobs += (choice.get("logprobs") or {}).get("content") or []
        content = delta.get("content") or ""
        reasoning = delta.get("reasoning") or delta.get("reasoning_content") or ""
        for key, text in (("content", content), ("reasoning", reasoning), ("refusal", delta.get("refusal") or "")):
            if text:
                self._message[key] = self._message.get(key, "") + text
        for call in delta.get("tool_calls") or []:
            self._add_call(call)
        if self._first_at is None and (content or reasoning or self._calls):
            self._first_at = time.monotonic()
        return Delta(content=content, reasoning=reasoning) if content or reasoning else None

    def completion(self, **more: Any) -> Completion:
        """The whole completion. Raises `InvalidResponse`."""
        message = {"content": None if self._calls or "refusal" in self._message else ""} | self._message
        message["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
        choice = {"message": message, "finish_reason": self._finish, "logprobs": {"content": self._logprobs or None}}
        made = completion_of(self._answer | {"choices": [choice]}, **more)
        if self._first_at is None:
            return made
        lasted = time.monotonic() - self._first_at
        speed = made.usage.completion_tokens / lasted if lasted > 0 and made.usage.completion_tokens else None
        return made.model_copy(
            update={"time_to_first_token": self._first_at - self._started, "tokens_per_second": speed}
        )

    def _add_call(self, call: dict[str, Any]) -> None:
        known = self._calls.setdefault(call.get("index", 0), {"id": "", "function": {"name": "", "arguments": ""}})
        known["id"] = call.get("id") or known["id"]
        function = call.get("function") or {}
        known["function"]["name"] += function.get("name") or ""
        known["function"]["arguments"] += function.get("arguments") or ""


def _usage(usage: dict[str, Any]) -> Usage:
    prompt, completion = (usage.get(f"{kind}_tokens_details") or {} for kind in ("prompt", "completion"))
    return Usage(
        prompt_tokens=usage.get("prompt_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
        cached_tokens=prompt.get("cached_tokens") or 0,
        reasoning_tokens=completion.get("reasoning_tokens") or 0,
    )
