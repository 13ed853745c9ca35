"""Turns answers in OpenAI's format, whole or in chunks, into the contract's `Completion`."""

from __future__ import annotations

import time
from typing import Any, Final

from pydantic import ValidationError

from windfall.errors import BackendError, InvalidResponse
from windfall.result import Completion, Delta, Usage
from windfall_worker.cloud.finish import finish_reason
from windfall_worker.cloud.tool_calls import ToolCalls
from windfall_worker.cloud.usage import usage_in

#: What is raised on the way when something has another type than it should.
_MISSHAPEN: Final = (ValidationError, AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError)
#: Fields of a message that are lists, and grow in a stream.
_LISTS: Final = ("annotations", "citations", "thinking_blocks")
#: Fields of a message that are not text.
_MORE: Final = frozenset({*_LISTS, "tool_calls", "function_call", "reasoning_details"})
#: Fields of an answer beside its choices.
_ABOUT_IT_ALL: Final = ("model", "service_tier", "citations")


def completion_of(answer: dict[str, Any], **more: Any) -> Completion:
    """A `chat.completion` object. `more` are further fields of the completion. Raises `InvalidResponse`."""
    collector = ChunkCollector()
    collector.add(as_chunk(answer))
    made = collector.completion(**more)
    return made.model_copy(update={"time_to_first_token": None, "tokens_per_second": None})


def as_chunk(answer: dict[str, Any]) -> dict[str, Any]:
    """A whole `chat.completion` as the one chunk of a stream."""
    choices = answer.get("choices") or []
    if not any(isinstance(choice, dict) and "message" in choice for choice in choices):
        return answer
    return answer | {
        "object": "chat.completion.chunk",
        "choices": [
            {name: value for name, value in choice.items() if name != "message"} | {"delta": _numbered(choice)}
            for choice in choices
        ],
    }


def _numbered(choice: dict[str, Any]) -> Any:
    """A whole message whose calls have an index: two calls without an id must not become one."""
    message = choice.get("message")
    if not isinstance(message, dict):
        return message
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        return message
    return {**message, "tool_calls": [call | {"index": at} for at, call in enumerate(calls)]}


class ChunkCollector:
    """Assembles a stream's chunks, and says what each adds. Of several choices, the first counts."""

    def __init__(self) -> None:
        self.usage: Usage | None = None  #: what was reported so far
        self._started = time.monotonic()
        self._first_at: float | None = None
        self._answer: dict[str, Any] = {}
        self._message: dict[str, str] = {}
        self._lists: dict[str, list[Any]] = {name: [] for name in _LISTS}
        self._details: list[dict[str, Any]] = []
        self._calls = ToolCalls()
        self._logprobs: list[Any] = []
        self._finish: Any = None

    def add(self, chunk: dict[str, Any]) -> Delta | None:
        """Add a chunk. Returns what it adds to the text, if anything. Raises `InvalidResponse`."""
        try:
            return self._add(chunk)
        except _MISSHAPEN as exc:  # a string where an object should be, and the like
            error = InvalidResponse(
                f"the endpoint sent something that is not part of a chat completion ({type(exc).__name__})"
            )
            error.usage = self.usage
            raise error from exc

    def _add(self, chunk: dict[str, Any]) -> Delta | None:
        self.usage = usage_in(chunk) or self.usage
        for key in _ABOUT_IT_ALL:
            if chunk.get(key):
                self._answer[key] = chunk[key]
        choice = next((one for one in chunk.get("choices") or () if not one.get("index")), None)
        if choice is None:
            return None
        self._finish = choice.get("finish_reason") or self._finish
        if choice.get("logprobs"):
            self._logprobs += choice["logprobs"].get("content") or []
        delta = choice.get("delta") or {}
        if not _MORE.isdisjoint(delta):
            self._add_more(delta)
        content, reasoning, refusal = _texts(delta)
        for key, text in (("content", content), ("reasoning", reasoning), ("refusal", refusal)):
            if text:
                self._message[key] = self._message.get(key, "") + text
        if self._first_at is None and (content or reasoning or self._calls):
            self._first_at = time.monotonic()
        return Delta(content=content, reasoning=reasoning) if content or reasoning else None

    def _add_more(self, delta: dict[str, Any]) -> None:
        """Add what is not text."""
        for name in _LISTS:
            self._lists[name] += delta.get(name) or []
        for call in delta.get("tool_calls") or []:
            self._calls.add(call)
        if delta.get("function_call"):
            self._calls.add({"index": 0, "function": delta["function_call"]})
        for detail in delta.get("reasoning_details") or []:
            self._add_detail(detail)

    def _add_detail(self, detail: dict[str, Any]) -> None:
        """Add a piece of OpenRouter's reasoning; the pieces of one have the same type and index."""
        last = self._details[-1] if self._details else {}
        if (last.get("type"), last.get("index", -1)) != (detail["type"], detail.get("index")):
            self._details.append(dict(detail))
            return
        for name, value in detail.items():
            grows = name in ("text", "summary", "data") and isinstance(value, str)
            last[name] = (last.get(name) or "") + value if grows else value or last.get(name)

    def completion(self, **more: Any) -> Completion:
        """The whole completion. Raises `InvalidResponse`, or what its finish reason means."""
        try:
            return self._timed(Completion.model_validate(self._fields() | more))
        except _MISSHAPEN as exc:
            # pydantic's own message would repeat the completion.
            error = InvalidResponse(f"the endpoint's answer is not a chat completion ({type(exc).__name__})")
            error.usage = self.usage
            raise error from exc
        except BackendError as error:
            error.usage = self.usage
            raise

    def _fields(self) -> dict[str, Any]:
        calls, said = len(self._calls) > 0, self._message
        reason = finish_reason(self._finish, calls=calls, empty=not calls and not (said.keys() - {"reasoning"}))
        lists = {name: found for name, found in self._lists.items() if found}
        if self._details:
            lists["reasoning_details"] = self._details
        if cited := self._answer.get("citations"):
            lists["citations"] = cited
        return {
            "content": None if calls or "refusal" in said else "",
            **said,
            **lists,
            "tool_calls": self._calls.functions(),
            "custom_tool_calls": self._calls.customs(),
            "finish_reason": reason,
            "logprobs": self._logprobs or None,
            "usage": self.usage or Usage(),
            "model": self._answer.get("model"),
            "service_tier": self._answer.get("service_tier"),
        }

    def _timed(self, made: Completion) -> Completion:
        if self._first_at is None:
            return made
        lasted = time.monotonic() - self._first_at
        speed = made.usage.completion_tokens / lasted if lasted > 0 and made.usage.completion_tokens else None
        return made.model_copy(
            update={"time_to_first_token": self._first_at - self._started, "tokens_per_second": speed}
        )


def _texts(delta: dict[str, Any]) -> tuple[str, str, str]:
    """The content, the reasoning and the refusal that a delta adds. Raises `TypeError` for what is not text."""
    content, reasoning, refusal = _split(delta.get("content"))
    reasoning += _text(delta.get("reasoning") or delta.get("reasoning_content"))
    return content, reasoning, refusal + _text(delta.get("refusal"))


def _split(content: Any) -> tuple[str, str, str]:
    """The same of a content, which may be a list of parts (Mistral)."""
    if not isinstance(content, list):
        return _text(content), "", ""
    found = {"text": "", "thinking": "", "refusal": ""}
    for part in content:
        if isinstance(part, str):
            found["text"] += part
        elif (kind := part.get("type", "text")) in found:
            found[kind] += _text(part.get(kind))
        elif kind not in _WITHOUT_TEXT:
            raise TypeError(f"a part of type {kind!r}")
    return found["text"], found["thinking"], found["refusal"]


#: Parts that only point to something.
_WITHOUT_TEXT: Final = frozenset({"reference", "tool_reference"})


def _text(value: Any) -> str:
    if isinstance(value, list):  # Mistral's thinking is a list of parts in a part
        return "".join(_text(part.get("text") if isinstance(part, dict) else part) for part in value)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("something other than text")
    return value
