"""Turns tokens into text, and text into content, reasoning and tool calls, as mlx-lm's server does.

There are three stages, all from mlx-lm: the tokenizer's streaming detokenizer, a `TextStateMachine` that ends at the
first stop string regardless of token boundaries, and the model's own `TextStateMachine` for reasoning and tools. Text
is released only when it can no longer be part of a stop string or a marker; what is held back at the end belongs to
the text (mlx-lm's server drops it at an end-of-text token, and a final `<` with it).

White space beside a reasoning marker belongs to the marker: an empty block of reasoning counts as none, and the answer
after `</think>` begins with its first word.
"""

# mypy: disable-error-code="no-untyped-call"
# mlx-lm is only partly typed.

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from mlx_lm.generate import TextStateMachine, make_text_state_machine

from windfall.request import FunctionCall, ToolCall

_TEXT: Final = "normal"
_REASONING: Final = "reasoning"
_TOOL: Final = "tool"


@lru_cache(maxsize=64)
def _stop_machine(stops: tuple[str, ...]) -> TextStateMachine:
    """Cached: a machine never changes, and the rows of a batch mostly share their stop strings."""
    return TextStateMachine({_TEXT: [(stop, None) for stop in stops]})


class TextRules:
    """How to read a model's text; one per tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.sections = make_text_state_machine(tokenizer)

    def stream(self, stops: Iterable[str] = (), *, reasoning: bool = False, tools: Any = None) -> TextStream:
        """The text of one completion. `reasoning`: the prompt ends inside the model's reasoning."""
        return TextStream(self, tuple(stops), reasoning=reasoning, tools=tools)


class TextStream:
    """The text of one completion as its tokens arrive.

    `content` and `reasoning` grow; `stopped` means that a stop string is complete, after which nothing is added.
    """

    def __init__(self, rules: TextRules, stops: tuple[str, ...], *, reasoning: bool, tools: Any) -> None:
        self._tokenizer = rules.tokenizer
        self._detokenizer = rules.tokenizer.detokenizer
        self._stops = _stop_machine(stops).make_state() if stops else None
        self._state = rules.tokenizer.response_initial_state or (_REASONING if reasoning else _TEXT)
        self._sections = rules.sections.make_state(self._state)
        self._tools = tools
        self._tool_parts: list[str] = []
        self._behind_marker = reasoning
        self._margin = ""  # white space that may turn out to precede a marker
        self._fresh: dict[str, list[str]] = {_TEXT: [], _REASONING: []}
        self._whole: dict[str, list[str]] = {_TEXT: [], _REASONING: []}
        self.stopped = False
        self.tool_calls: list[ToolCall] = []

    @property
    def in_reasoning(self) -> bool:
        """Whether the last token was part of the model's reasoning."""
        return bool(self._state == _REASONING)

    def add(self, token: int) -> bool:
        """Add a token. Returns whether a stop string is complete."""
        self._detokenizer.add_token(token)
        text = self._detokenizer.last_segment
        return self._cut(text) if text else False

    def finish(self) -> None:
        """Release what was held back: no more tokens follow."""
        self._detokenizer.finalize()
        if not self.stopped:
            self._cut(self._detokenizer.last_segment)
        if self._stops is not None and not self.stopped:
            self._stops, held, _ = TextStateMachine.flush(self._stops)
            self._sort(held)
        self._sections, held, _ = TextStateMachine.flush(self._sections)
        self._put(self._state, held)
        if self._tool_parts:
            self._end_tool(closed=False)

    def take(self) -> tuple[str, str]:
        """Content and reasoning since the last call."""
        taken = []
        for name in (_TEXT, _REASONING):
            taken.append("".join(self._fresh[name]))
            self._fresh[name].clear()
            if taken[-1]:
                self._whole[name].append(taken[-1])
        return taken[0], taken[1]

    @property
    def content(self) -> str:
        """All content so far."""
        return "".join(self._whole[_TEXT] + self._fresh[_TEXT])

    @property
    def reasoning(self) -> str:
        """All reasoning so far."""
        return "".join(self._whole[_REASONING] + self._fresh[_REASONING])

    def _cut(self, text: str) -> bool:
        """Pass on what comes before the first stop string."""
        if self._stops is not None:
            self._stops, segments = TextStateMachine.split(self._stops, text)
            text = segments[0][1]
            self.stopped = self._stops[0] is None
        self._sort(text)
        return self.stopped

    def _sort(self, text: str) -> None:
        self._sections, segments = TextStateMachine.split(self._sections, text)
        for state, piece in segments:
            if self._state == _TOOL and state != _TOOL:
                self._end_tool(closed=True)
            if state != self._state and _REASONING in (state, self._state):
                self._behind_marker, self._margin = True, ""
            self._put(state, piece)
            self._state = state

    def _put(self, state: str, piece: str) -> None:
        """Add text by state. Some models have others, such as a header with the addressee: these are not the answer."""
        if piece and state == _TOOL:
            self._tool_parts.append(piece)
        elif piece and state in self._fresh:
            if self._behind_marker:
                piece = piece.lstrip()
                self._behind_marker = not piece
            if state == _REASONING:
                piece = self._margin + piece
                self._margin = piece[len(piece.rstrip()) :]
                piece = piece.rstrip()
            if piece:
                self._fresh[state].append(piece)

    def _end_tool(self, *, closed: bool) -> None:
        """End a tool call. What the model's parser cannot read becomes content, where it can be seen."""
        text = "".join(self._tool_parts)
        self._tool_parts.clear()
        try:
            parsed = self._tokenizer.tool_parser(text, self._tools)
            calls = [_tool_call(call) for call in (parsed if isinstance(parsed, list) else [parsed])]
        except Exception:  # noqa: BLE001 - fifteen parsers, given whatever a model wrote
            end = self._tokenizer.tool_call_end if closed else ""
            self._fresh[_TEXT].append(f"{self._tokenizer.tool_call_start or ''}{text}{end or ''}")
        else:
            self.tool_calls += calls


def _tool_call(parsed: dict[str, Any]) -> ToolCall:
    arguments = parsed.get("arguments", {})
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    call_id = parsed.get("id") or f"call_{uuid.uuid4().hex}"
    return ToolCall(id=str(call_id), function=FunctionCall(name=parsed["name"], arguments=arguments))
