"""The tool calls of one message, whole or in pieces, in the format of OpenAI's answers.

What endpoints leave out or write differently:

    no `index` in a stream              a call begins with a new id or name, and what names neither continues the last
    the same `index` for several calls  a new id with a name begins a call (Gemini)
    no `id`                             one is made up
    no `arguments`, or empty ones       `{}`
    `arguments` as an object            its JSON
    `function_call`                     a tool call (the format before tools)
"""

from __future__ import annotations

import json
import uuid
from typing import Any


class ToolCalls:
    """Assembles the calls of one message."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, piece: dict[str, Any]) -> None:
        """Add a call, or a piece of one. Raises `TypeError` or `AttributeError` for what is neither."""
        call = self._of(piece)
        if call is None:
            call = _Call(piece.get("index"))
            self._calls.append(call)
        call.add(piece)

    def functions(self) -> list[dict[str, Any]]:
        """The calls of functions, in order."""
        return [call.function() for call in self._sorted() if not call.custom]

    def customs(self) -> list[dict[str, Any]]:
        """The calls of custom tools, in order."""
        return [call.custom_tool() for call in self._sorted() if call.custom]

    def _sorted(self) -> list[_Call]:
        return sorted(self._calls, key=lambda call: call.index if isinstance(call.index, int) else 0)

    def _of(self, piece: dict[str, Any]) -> _Call | None:
        """The call that a piece continues, or None if it begins one."""
        index, call_id, name = piece.get("index"), piece.get("id"), _body(piece).get("name")
        if index is not None and not isinstance(index, int):
            raise TypeError("an index that is not a number")
        if index is None:
            known = self._calls[-1:] if not call_id else [call for call in self._calls if call.id == call_id]
            begins = not call_id and name and known and known[0].name
            return known[0] if known and not begins else None
        known = [call for call in self._calls if call.index == index]
        begins = known and call_id and name and known[-1].id not in ("", call_id)
        return known[-1] if known and not begins else None


class _Call:
    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = self.name = ""
        self.custom = False
        self._text: list[str] = []
        self._extra: dict[str, Any] | None = None

    def add(self, piece: dict[str, Any]) -> None:
        self.id = piece.get("id") or self.id
        self.custom = self.custom or piece.get("type") == "custom" or "custom" in piece
        self._extra = piece.get("extra_content") or self._extra
        body = _body(piece)
        name = body.get("name") or ""
        if name != self.name:  # some servers repeat it with every piece
            self.name += name
        text = body.get("input") if self.custom else body.get("arguments")
        if text is not None:
            self._text.append(text if isinstance(text, str) else json.dumps(text, ensure_ascii=False))

    def function(self) -> dict[str, Any]:
        made = self._made() | {"type": "function"}
        text = "".join(self._text)
        made["function"] = {"name": self.name, "arguments": text if text.strip() else "{}"}
        return made | ({"extra_content": self._extra} if self._extra else {})

    def custom_tool(self) -> dict[str, Any]:
        return self._made() | {"type": "custom", "custom": {"name": self.name, "input": "".join(self._text)}}

    def _made(self) -> dict[str, Any]:
        if not self.name:
            raise KeyError("a call without a name")
        self.id = self.id or f"call_{uuid.uuid4().hex[:24]}"
        return {"id": self.id}


def _body(piece: dict[str, Any]) -> dict[str, Any]:
    """The part of a piece that says what is called, and with what."""
    body = piece.get("function") or piece.get("custom") or {}
    if not isinstance(body, dict):
        raise TypeError("a call that is not an object")
    return body
