"""Translates Anthropic's messages and stream events into OpenAI's chat completions and chunks.

    text                              content; what it cites is in `citations`, and web pages in `annotations` too
    thinking, redacted_thinking       reasoning, and with their signatures in `thinking_blocks`: the API wants them back
    tool_use                          a tool call
    server_tool_use and its results   left out: the text says what came of them
    stop_reason                       see `finish.py`; a `refusal` is a `content_filter` with a `refusal` text

Prompt tokens cover the whole prompt: Anthropic counts tokens read from and written to its cache separately.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

from windfall.errors import InvalidResponse
from windfall_worker.cloud.finish import in_openai_words
from windfall_worker.cloud.usage import usage_of

_THINKING: Final = ("thinking", "redacted_thinking")
#: What is raised on the way when something has another type than it should.
_MISSHAPEN: Final = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def chat_completion(message: dict[str, Any]) -> dict[str, Any]:
    """Translate a whole message. Raises `InvalidResponse`."""
    try:
        return _chat_completion(message)
    except _MISSHAPEN as exc:
        raise _not_a_message(exc) from exc


def _chat_completion(message: dict[str, Any]) -> dict[str, Any]:
    blocks = message["content"]
    text = _Text()
    for block in blocks:
        if block.get("type") == "text":
            text.add(block["text"], block.get("citations"))
    thinking = "".join(block["thinking"] for block in blocks if block.get("type") == "thinking")
    calls = [_tool_call(block) for block in blocks if block.get("type") == "tool_use"]
    refusal = _refusal(message)
    content = text.text or (None if calls or refusal else "")
    made: dict[str, Any] = {"role": "assistant", "content": content, "refusal": refusal} | text.sources()
    if thinking:
        made["reasoning"] = thinking
    if signed := [block for block in blocks if _worth_keeping(block)]:
        made["thinking_blocks"] = signed
    if calls:
        made["tool_calls"] = calls
    usage = message.get("usage") or {}
    finish = in_openai_words(message.get("stop_reason"))
    return _tier(usage) | {
        "id": message.get("id"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": message.get("model"),
        "choices": [{"index": 0, "message": made, "logprobs": None, "finish_reason": finish}],
        "usage": _usage(usage),
    }


class StreamTranslator:
    """Translates the events of one stream into chunks, one after the other."""

    def __init__(self) -> None:
        self._base: dict[str, Any] = {"id": None, "object": "chat.completion.chunk", "created": int(time.time())}
        self._usage: dict[str, Any] = {}
        self._open: dict[int, dict[str, Any]] = {}  # the blocks that have begun and not ended, by index
        self._calls = 0
        self._text = _Text()

    def chunks(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The chunks for an event: none for pings and unknown events. Raises `InvalidResponse`."""
        try:
            yield from self._chunks(event)
        except _MISSHAPEN as exc:
            raise _not_a_message(exc) from exc

    def _chunks(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        kind = event.get("type")
        if kind == "message_start":
            message = event["message"]
            self._usage |= message.get("usage") or {}
            self._base |= {"id": message.get("id"), "model": message.get("model")} | _tier(self._usage)
            yield self._chunk({"role": "assistant", "content": ""}, usage=_usage(self._usage))
        elif kind == "content_block_start":
            yield from self._begun(event["index"], event["content_block"])
        elif kind == "content_block_delta":
            yield from self._delta(self._open[event["index"]], event["delta"])
        elif kind == "content_block_stop":
            yield from self._ended(self._open.pop(event["index"]))
        elif kind == "message_delta":
            # Its usage is cumulative, and lists only what has changed.
            self._usage |= {name: count for name, count in (event.get("usage") or {}).items() if count is not None}
            delta = event.get("delta") or {}
            refusal = _refusal(delta)
            finish = in_openai_words(delta.get("stop_reason"))
            yield self._chunk({"refusal": refusal} if refusal else {}, finish, usage=_usage(self._usage))
        elif kind == "message_stop":
            yield self._base | {"choices": [], "usage": _usage(self._usage)}

    def _begun(self, index: int, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        block = self._open[index] = dict(block)
        kind = block.get("type")
        if kind == "tool_use":
            block |= {"at": self._calls, "input": block.get("input") or None}
            self._calls += 1
            yield self._call(block, {"name": block["name"], "arguments": ""}, id=block["id"], type="function")
        elif kind == "text":
            block["cited"] = list(block.get("citations") or [])
            if block.get("text"):
                yield self._chunk({"content": block["text"]})
        elif kind == "thinking" and block.get("thinking"):
            yield self._chunk({"reasoning": block["thinking"]})

    def _delta(self, block: dict[str, Any], delta: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What a delta adds. Those of the tools that Anthropic runs itself are left out, like the tools."""
        match block.get("type"), delta.get("type"):
            case "text", "text_delta":
                block["text"] = block.get("text", "") + delta["text"]
                yield self._chunk({"content": delta["text"]})
            case "text", "citations_delta":
                block["cited"].append(delta["citation"])
            case "thinking", "thinking_delta":
                block["thinking"] = block.get("thinking", "") + delta["thinking"]
                yield self._chunk({"reasoning": delta["thinking"]})
            case "thinking", "signature_delta":
                block["signature"] = delta["signature"]
            case "tool_use", "input_json_delta" if delta.get("partial_json"):
                block["sent"] = True
                yield self._call(block, {"arguments": delta["partial_json"]})

    def _ended(self, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What is known only at a block's end."""
        if block.get("type") == "tool_use" and not block.get("sent"):
            yield self._call(block, {"arguments": json.dumps(block["input"] or {})})
        elif block.get("type") == "text":
            self._text.add(block.pop("text", ""), block["cited"])
            sources = self._text.sources(since_last=True)
            if sources:
                yield self._chunk(sources)
        elif _worth_keeping(block):
            yield self._chunk({"thinking_blocks": [block]})

    def _call(self, block: dict[str, Any], function: dict[str, str], **more: str) -> dict[str, Any]:
        return self._chunk({"tool_calls": [{"index": block["at"], **more, "function": function}]})

    def _chunk(self, delta: dict[str, Any], finish: Any = None, **more: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._base | {"choices": [choice]} | more


class _Text:
    """The text of a message so far, and what its blocks cite."""

    def __init__(self) -> None:
        self.text = ""
        self._citations: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, text: str, citations: list[dict[str, Any]] | None) -> None:
        begin, self.text = len(self.text), self.text + text
        for citation in citations or []:
            self._citations.append(citation)
            if citation.get("type") == "web_search_result_location":
                place = {"start_index": begin, "end_index": len(self.text)}
                page = {"url": citation.get("url") or "", "title": citation.get("title") or ""}
                self._annotations.append({"type": "url_citation", "url_citation": place | page})

    def sources(self, *, since_last: bool = False) -> dict[str, Any]:
        """The fields of a message for what was cited; with `since_last`, each source once."""
        found = {"citations": self._citations, "annotations": self._annotations}
        if since_last:
            self._citations, self._annotations = [], []
        return {name: those for name, those in found.items() if those}


def _worth_keeping(block: dict[str, Any]) -> bool:
    """Whether it is thinking that a later turn has to give back as it is."""
    return block.get("type") in _THINKING and bool(block.get("signature") or block.get("data"))


def _refusal(message: dict[str, Any]) -> str | None:
    if message.get("stop_reason") != "refusal":
        return None
    details = message.get("stop_details") or {}
    return details.get("explanation") or "the model refused to answer"


def _tool_call(block: dict[str, Any]) -> dict[str, Any]:
    function = {"name": block["name"], "arguments": json.dumps(block.get("input") or {})}
    return {"id": block["id"], "type": "function", "function": function}


def _tier(usage: dict[str, Any]) -> dict[str, Any]:
    tier = usage.get("service_tier")
    return {"service_tier": "default" if tier == "standard" else tier} if tier else {}


def _usage(said: dict[str, Any]) -> dict[str, Any]:
    usage = usage_of({"output_tokens": 0} | said)
    assert usage is not None  # noqa: S101 - for mypy; it was an object
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _not_a_message(exc: Exception) -> InvalidResponse:
    return InvalidResponse(f"the endpoint sent something that is not part of a message ({type(exc).__name__})")
