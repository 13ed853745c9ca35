"""The turns of a request in Anthropic's words, as OpenAI's messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from windfall.anthropic_blocks import (
    AnthropicMessage,
    AsGiven,
    Base64Source,
    ContentSource,
    DocumentBlock,
    FileSource,
    ImageBlock,
    PDFSource,
    PlainTextSource,
    SearchResultBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from windfall.anthropic_body import AnthropicBody
from windfall.errors import InvalidRequest
from windfall.message import RedactedThinkingBlock, ThinkingBlock

Content = str | list[dict[str, Any]]


class Turns:
    """Translates the turns of one request. `ignored`: the fields left out because they cannot change the answer."""

    def __init__(self) -> None:
        self.ignored: set[str] = set()

    def of(self, params: AnthropicBody) -> list[dict[str, Any]]:
        """The messages. Raises `InvalidRequest` for what OpenAI's words cannot say."""
        if params.cache_control:
            self.ignored.add("cache_control")
        messages = [{"role": "system", "content": self._content(params.system, "system")}] if params.system else []
        for number, turn in enumerate(params.messages):
            messages += self._turn(turn, f"messages.{number}")
        last = len(params.messages) - 1
        if params.messages[last].role == "assistant":
            why = "only Anthropic's API continues a final assistant turn"
            raise InvalidRequest(why, field=f"messages.{last}.role")
        return messages

    def _turn(self, turn: AnthropicMessage, where: str) -> Iterator[dict[str, Any]]:
        if isinstance(turn.content, str):
            yield {"role": turn.role, "content": turn.content}
            return
        where += ".content"
        if not turn.content and turn.role != "assistant":
            raise InvalidRequest("is empty", field=where)
        if turn.role == "assistant":
            yield self._assistant(turn.content, where)
        else:
            yield from self._user(turn, turn.content, where)

    def _user(self, turn: AnthropicMessage, blocks: Sequence[Any], where: str) -> Iterator[dict[str, Any]]:
        """Tool results become separate messages, as OpenAI requires; the blocks between them stay one message."""
        parts: list[dict[str, Any]] = []
        for number, block in enumerate(blocks):
            if isinstance(block, ToolResultBlock) and turn.role == "user":
                if parts:
                    yield {"role": turn.role, "content": _plain(parts)}
                    parts = []
                yield self._tool_result(block, f"{where}.{number}")
            else:
                parts += self._parts(block, turn.role, f"{where}.{number}")
        if parts:
            yield {"role": turn.role, "content": _plain(parts)}

    def _tool_result(self, block: ToolResultBlock, where: str) -> dict[str, Any]:
        if block.toolset_name:
            raise InvalidRequest("only Anthropic's API has toolsets", field=f"{where}.toolset_name")
        self._note(block)
        content = self._content(block.content or "", f"{where}.content", "user")
        if block.is_error:
            content = (
                f"Error: {content}" if isinstance(content, str) else [{"type": "text", "text": "Error:"}, *content]
            )
        return {"role": "tool", "tool_call_id": block.tool_use_id, "content": content}

    def _assistant(self, blocks: Sequence[Any], where: str) -> dict[str, Any]:
        parts: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        thoughts: list[str] = []
        for number, block in enumerate(blocks):
            if isinstance(block, ThinkingBlock):
                thoughts.append(block.thinking)
                if block.signature:
                    self.ignored.add("signature")
            elif isinstance(block, RedactedThinkingBlock):
                self.ignored.add("redacted_thinking")
            elif isinstance(block, ToolUseBlock):
                calls.append(self._tool_call(block, f"{where}.{number}"))
            else:
                parts += self._parts(block, "assistant", f"{where}.{number}")
        message: dict[str, Any] = {"role": "assistant"}
        if parts or not calls:
            message["content"] = _plain(parts)
        if calls:
            message["tool_calls"] = calls
        if thoughts:
            message["reasoning_content"] = "".join(thoughts)
        return message

    def _tool_call(self, block: ToolUseBlock, where: str) -> dict[str, Any]:
        if block.toolset_name:
            raise InvalidRequest("only Anthropic's API has toolsets", field=f"{where}.toolset_name")
        if (block.caller or {"type": "direct"}).get("type") != "direct":
            raise InvalidRequest("only Anthropic's API lets other tools call a tool", field=f"{where}.caller")
        self._note(block)
        arguments = json.dumps(block.input, ensure_ascii=False)
        return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}

    def _content(self, blocks: str | Sequence[Any], where: str, role: str = "system") -> Content:
        if isinstance(blocks, str):
            return blocks
        return _plain(
            [part for number, block in enumerate(blocks) for part in self._parts(block, role, f"{where}.{number}")]
        )

    def _parts(self, block: Any, role: str, where: str) -> list[dict[str, Any]]:
        """The parts of a block that is neither thinking of the assistant's nor about a tool."""
        if isinstance(block, AsGiven):
            raise InvalidRequest(f"only Anthropic's API has blocks of type {block.type!r}", field=f"{where}.type")
        expected = (TextBlock, ImageBlock, DocumentBlock, SearchResultBlock) if role == "user" else (TextBlock,)
        if not isinstance(block, expected):
            why = f"a message of role {role!r} cannot have a block of type {block.type!r}"
            raise InvalidRequest(why, field=f"{where}.type")
        self._note(block)
        if isinstance(block, ImageBlock):
            return [self._image(block, where)]
        if isinstance(block, TextBlock):
            return [{"type": "text", "text": block.text}]
        if block.citations and block.citations.enabled:
            raise InvalidRequest("only Anthropic's API cites its sources", field=f"{where}.citations")
        if isinstance(block, DocumentBlock):
            return self._document(block, where)
        for each in block.content:
            self._note(each)
        text = "".join(each.text for each in block.content)
        return [{"type": "text", "text": f"{block.title}\n{block.source}\n\n{text}"}]

    def _document(self, block: DocumentBlock, where: str) -> list[dict[str, Any]]:
        source, head = block.source, "\n".join(said for said in (block.title, block.context) if said)
        if isinstance(source, PlainTextSource):
            return [{"type": "text", "text": f"{head}\n\n{source.data}" if head else source.data}]
        headed = [{"type": "text", "text": head}] if head else []
        if isinstance(source, ContentSource):
            if isinstance(source.content, str):
                return [*headed, {"type": "text", "text": source.content}]
            inner = f"{where}.source.content"
            return headed + [
                part for n, each in enumerate(source.content) for part in self._parts(each, "user", f"{inner}.{n}")
            ]
        if not isinstance(source, PDFSource):
            why = f"OpenAI's API takes no document by {source.type}; give its data"
            raise InvalidRequest(why, field=f"{where}.source.type")
        file = {
            "filename": block.title or "document.pdf",
            "file_data": f"data:{source.media_type};base64,{source.data}",
        }
        context = [{"type": "text", "text": block.context}] if block.context else []
        return [*context, {"type": "file", "file": file}]

    def _image(self, block: ImageBlock, where: str) -> dict[str, Any]:
        source = block.source
        if isinstance(source, FileSource):
            raise InvalidRequest("only Anthropic's API has its files", field=f"{where}.source.type")
        if block.transformations:
            self.ignored.add("transformations")
        url = f"data:{source.media_type};base64,{source.data}" if isinstance(source, Base64Source) else source.url
        return {"type": "image_url", "image_url": {"url": url}}

    def _note(self, block: Any) -> None:
        if block.cache_control:
            self.ignored.add("cache_control")


def _plain(parts: list[dict[str, Any]]) -> Content:
    """The parts; the text alone if that is all."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts
