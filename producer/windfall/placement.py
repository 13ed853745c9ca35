"""Which requests no Mac can run, and so in which lane a request waits.

Only what no model on MLX can do counts here. What depends on the model, and what engines may yet learn (structured
output, forced tool calls), an engine refuses itself, and an `auto` request then goes on to the next backend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from windfall.errors import InvalidRequest
from windfall.message import Message, TextPart, ToolCall
from windfall.request import CompletionRequest, Route
from windfall.translation import in_openai_words

_PARTS: Final = {"image_url": "images", "input_audio": "sound", "file": "files"}


@dataclass(frozen=True, slots=True)
class CloudOnly:
    """The first field of a request that no engine can honour, and why."""

    field: str
    why: str


def cloud_only(request: CompletionRequest) -> CloudOnly | None:
    """What keeps a request off the Macs, or None if a model on one may run it."""
    try:
        said = in_openai_words(request)
    except InvalidRequest as exc:
        return CloudOnly(f"anthropic.{exc.field}", exc.reason)
    if said.n is not None and said.n > 1:
        return CloudOnly("n", "a Mac makes one completion for each request")
    if said.web_search_options is not None:
        return CloudOnly("web_search_options", "a Mac searches nothing")
    for number, tool in enumerate(said.tools or ()):
        if tool.get("type") != "function":
            return CloudOnly(f"tools.{number}.type", f"a model on a Mac has no tools of type {tool.get('type')!r}")
    for number, message in enumerate(said.messages):
        if isinstance(message.content, str) and message.tool_calls is None and message.audio is None:
            continue  # nearly all messages
        if found := _in_message(message, f"messages.{number}"):
            return found
    return None


def _in_message(message: Message, where: str) -> CloudOnly | None:
    if message.audio is not None:
        return CloudOnly(f"{where}.audio", "a model on a Mac takes no sound")
    if any(not isinstance(call, ToolCall) for call in message.tool_calls or ()):
        return CloudOnly(f"{where}.tool_calls", "a model on a Mac has no custom tools")
    if isinstance(message.content, tuple):
        for number, part in enumerate(message.content):
            if not isinstance(part, TextPart) and part.type in _PARTS:
                return CloudOnly(f"{where}.content.{number}.type", f"a model on a Mac takes no {_PARTS[part.type]}")
    return None


def lane_route(request: CompletionRequest) -> Route:
    """The route of the lane in which a request waits: the cloud's for an `auto` one that no Mac can run."""
    if request.route is Route.AUTO and cloud_only(request):
        return Route.CLOUD
    return request.route


def check_placement(request: CompletionRequest) -> None:
    """Raise `InvalidRequest`, naming the field, for a request of route `local` that no Mac can run."""
    if request.route is Route.LOCAL and (found := cloud_only(request)):
        raise InvalidRequest(f"{found.why}; route 'local' needs another request, or take 'auto'", field=found.field)
