"""OpenAI's messages as Anthropic's system text and turns."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import Any, Final

from windfall.errors import RequestRejected, UnsupportedParameter

Block = dict[str, Any]

_DATA_URL: Final = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)(;charset=[\w-]+)?;base64,(?P<data>.+)", re.DOTALL)
_MARK: Final = "cache_control"


def conversation(messages: Sequence[dict[str, Any]]) -> tuple[str | list[Block], list[dict[str, Any]]]:
    """The system text (blocks, where one is marked for the cache) and the turns.

    Raises `UnsupportedParameter`, or `RequestRejected` if there are no turns.
    """
    system: list[Block] = []
    turns: list[dict[str, Any]] = []
    for at, message in enumerate(messages):
        where = f"messages[{at}]"
        if message["role"] in ("system", "developer"):
            system += _system(message, where)
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = _blocks(message, where)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise RequestRejected("Anthropic's API needs at least one message that is not a system message")
    if any(_MARK in block for block in system):
        return system, turns
    return "\n".join(block["text"] for block in system), turns


def _system(message: dict[str, Any], where: str) -> list[Block]:
    parts = _parts(message.get("content"))
    for part in parts:
        if part["type"] != "text":
            raise UnsupportedParameter(f"{where}: a system message for Anthropic's API cannot contain {part['type']}")
    if _MARK not in message and not any(_MARK in part for part in parts):
        return [{"type": "text", "text": "".join(part["text"] for part in parts)}]
    return _marked([_part(part, where) for part in parts], message)


def _blocks(message: dict[str, Any], where: str) -> list[Block]:
    if message.get("name") and message["role"] != "tool":
        raise UnsupportedParameter(f"{where}.name: Anthropic's API has no names for speakers")
    if message.get("audio"):
        raise UnsupportedParameter(f"{where}.audio: Anthropic's API takes no sound")
    blocks = [_part(part, where) for part in _parts(message.get("content"))]
    if message["role"] == "tool":
        return _marked(
            [{"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": blocks}], message
        )
    if message.get("refusal"):
        blocks.append({"type": "text", "text": message["refusal"]})
    calls = [_tool_use(call, f"{where}.tool_calls[{n}]") for n, call in enumerate(message.get("tool_calls") or [])]
    # Models that only call a tool leave an empty text, which this API refuses.
    blocks = [block for block in blocks if block.get("text") != ""] if calls else blocks
    # Thinking comes first, as the API signed it.
    return _marked([*(message.get("thinking_blocks") or ()), *blocks, *calls], message)


def _marked(blocks: list[Block], message: dict[str, Any]) -> list[Block]:
    """A mark of the whole message is one of its last block."""
    if _MARK in message and blocks:
        return [*blocks[:-1], {_MARK: message[_MARK]} | blocks[-1]]
    return blocks


def _parts(content: str | Sequence[dict[str, Any]] | None) -> Sequence[dict[str, Any]]:
    if content is None:
        return []
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _part(part: dict[str, Any], where: str) -> Block:
    mark = {_MARK: part[_MARK]} if _MARK in part else {}
    match part["type"]:
        case "text":
            return {"type": "text", "text": part["text"]} | mark
        case "refusal":
            return {"type": "text", "text": part["refusal"]} | mark
        case "image_url":
            return {"type": "image", "source": _image(part["image_url"], where)} | mark
        case "file":
            return _document(part["file"], where) | mark
    raise UnsupportedParameter(f"{where}: a part of type {part['type']!r} cannot be translated for Anthropic's API")


def _document(file: dict[str, Any], where: str) -> Block:
    data = _DATA_URL.fullmatch(file.get("file_data") or "")
    if not data:
        raise UnsupportedParameter(f"{where}: file: Anthropic's API needs file_data, a base64 data: URL")
    title = {"title": file["filename"]} if file.get("filename") else {}
    if data["type"] == "application/pdf":
        source = {"type": "base64", "media_type": "application/pdf", "data": data["data"]}
    elif data["type"] == "text/plain":
        source = {"type": "text", "media_type": "text/plain", "data": _decoded(data["data"], where)}
    else:
        raise UnsupportedParameter(f"{where}: file: Anthropic's API takes PDF and plain text, not {data['type']}")
    return {"type": "document", "source": source} | title


def _decoded(data: str, where: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except ValueError as exc:
        raise RequestRejected(f"{where}: file_data is not UTF-8 text in base64") from exc


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
    if call.get("type") == "custom":
        raise UnsupportedParameter(f"{where}: Anthropic's API has no custom tools")
    function = call["function"]
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except (ValueError, RecursionError) as exc:
        raise RequestRejected(f"{where}.function.arguments is not JSON") from exc
    if not isinstance(arguments, dict):
        raise RequestRejected(f"{where}.function.arguments must be a JSON object for Anthropic's API")
    return {"type": "tool_use", "id": call["id"], "name": function["name"], "input": arguments}
