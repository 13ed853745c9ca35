"""What a recording holds, and how to write one down briefly."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from windfall.errors import BackendError

Step = dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """One answer. `step` is what the fault server sends; the rest is what must come of it.

    `gives` are fields of the completion, as JSON; `fails` is the error instead. `usage` is (prompt, completion, cached,
    reasoning). `sdk`: the provider is the protocol's own, whose SDK must read the same.
    """

    provider: str
    about: str
    step: Step
    gives: dict[str, Any] = field(default_factory=dict)
    fails: type[BackendError] | None = None
    says: str = ""
    usage: tuple[int, int, int, int] | None = None
    protocol: str = "openai"
    stream: bool = True
    sdk: bool = False

    @property
    def name(self) -> str:
        return f"{self.provider}: {self.about}"


def whole(message: dict[str, Any], finish: str | None = "stop", *, usage: Any = None, **more: Any) -> Step:
    """A `chat.completion`."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish, "logprobs": None}
    choice |= more.pop("choice", {})
    return {"json": _base("chat.completion") | {"choices": [choice]} | ({"usage": usage} if usage else {}) | more}


def chunks(*deltas: dict[str, Any], finish: str | None = "stop", usage: Any = None, **more: Any) -> Step:
    """A stream of `chat.completion.chunk`s, the last of which has no choices, and `[DONE]`."""
    made = [chunk(delta, **more) for delta in deltas]
    if finish is not None:
        made.append(chunk({}, finish, **more))
    if usage is not None:
        made.append(event(_base("chat.completion.chunk") | {"choices": [], "usage": usage}))
    return {"events": [*made, "data: [DONE]\n\n"]}


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
    """One chunk."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish} | more.pop("choice", {})
    return event(_base("chat.completion.chunk") | {"choices": [choice]} | more)


def event(data: dict[str, Any], name: str = "") -> str:
    """One event of a stream."""
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n"


def tokens(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    """OpenAI's usage."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion} | more


def _base(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_790_000_000, "model": "a-model"}
