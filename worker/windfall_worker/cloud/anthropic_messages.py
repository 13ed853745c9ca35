"""OpenAI's messages as Anthropic's system text and turns."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from windfall.errors import RequestRejected, UnsupportedParameter

Block = dict[str, Any]

_DATA_URL: Final = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+);base64,(?P<data>.+)", re.DOTALL)


def conversation(messages: Sequence[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """The system text and the turns. Raises `UnsupportedParameter`, or `RequestRejected` if there are no turns."""
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    for at, message in enumerate(messages):
        where = f"messages[{at}]"
        if message["role"] in ("system", "developer"):
            system.append(_text(message.get("content"), where))
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = _blocks(message, where)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise RequestRejected("Anthropic's API needs at least one message that is not a system message")
    return "\n".join(system), turns


def _blocks(message: dict[str, Any], where: str) -> list[Block]:
    role = message["role"]
    if role == "tool":
        content = [_part(part, where) for part in _parts(message.get("content"))]
        return [{"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": content}]
    if message.get("name"):
        raise UnsupportedParameter(f"{where}.name: Anthropic's API has no names for speakers")
    blocks = [_part(part, where) for part in _parts(message.get("content"))]
    if message.get("refusal"):
        blocks.append({"type": "text", "text": message["refusal"]})
    calls = message.get("tool_calls") or []
    # Models that only call a tool leave an empty text, which this API refuses.
    blocks = [block for block in blocks if block.get("text") != ""] if calls else blocks
    return blocks + [_tool_use(call, f"{where}.tool_calls[{n}]") for n, call in enumerate(calls)]


def _parts(content: str | Sequence[dict[str, Any]] | None) -> Sequence[dict[str, Any]]:
    if content is None:
        return []
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _part(part: dict[str, Any], where: str) -> Block:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    if part["type"] == "image_url":
        return {"type": "image", "source": _image(part["image_url"], where)}
    raise UnsupportedParameter(f"{where}: a part of type {part['type']!r} cannot be translated for Anthropic's API")


def _image(image: dict[str, Any], where: str) -> dict[str, str]:
    if image.get("detail") not in (None, "auto"):
        raise UnsupportedParameter(f"{where}: Anthropic's API has no image_url.detail")
    url = image["url"]
    if url.startswith(("http://", "https://")):
        return {"type": "url", "url": url}
    data = _DATA_URL.fullmatch(url)
    if not data:
        raise RequestRejected(f"{where}: image_url.url is neither an http address nor a base64 data: URL")
    return {"type": "base64", "media_type": data["type"], "data": data["data"]}


def _tool_use(call: dict[str, Any], where: str) -> Block:
    function = call["function"]
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except (ValueError, RecursionError) as exc:
        raise RequestRejected(f"{where}.function.arguments is not JSON") from exc
    if not isinstance(arguments, dict):
        raise RequestRejected(f"{where}.function.arguments must be a JSON object for Anthropic's API")
    return {"type": "tool_use", "id": call["id"], "name": function["name"], "input": arguments}


def _text(content: str | Sequence[dict[str, Any]] | None, where: str) -> str:
    parts = _parts(content)
    for part in parts:
        if part["type"] != "text":
            raise UnsupportedParameter(f"{where}: a system message for Anthropic's API cannot contain {part['type']}")
    return "".join(part["text"] for part in parts)
