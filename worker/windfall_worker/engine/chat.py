"""Turns messages and tools into the prompt's text, with the model's own chat template.

What MLX cannot honour is refused here, by name. A model without a chat template is refused too: with an invented one it
would answer badly, and no one would know why.
"""

from __future__ import annotations

import json
from typing import Any, Final

from windfall.errors import InvalidRequest, MalformedRequest, RequestRejected, UnsupportedParameter
from windfall.message import Message, ToolCall
from windfall.placement import cloud_only
from windfall.request import CompletionRequest
from windfall.translation import in_openai_words

#: Arguments of `apply_chat_template` that are set here, and `chat_template`, which would run a stranger's program.
_OURS: Final = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "continue_final_message",
        "conversation",
        "documents",
        "max_length",
        "messages",
        "padding",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "tokenize",
        "tokenizer_kwargs",
        "tools",
        "truncation",
    },
)


def spoken(request: CompletionRequest) -> CompletionRequest:
    """The request in OpenAI's words, which templates know. Raises `UnsupportedParameter` for what they cannot say."""
    try:
        return in_openai_words(request)
    except InvalidRequest as exc:
        raise UnsupportedParameter(str(exc)) from None


def check_supported(request: CompletionRequest, *, tools_known: bool) -> None:
    """Raise `UnsupportedParameter` for the first field that MLX cannot honour. `tools_known`: the model calls tools."""
    if request.response_format is not None and request.response_format.get("type") != "text":
        raise UnsupportedParameter(
            f"response_format {request.response_format.get('type')!r}: MLX models support type 'text' only",
        )
    if request.tool_choice not in (None, "auto", "none"):
        raise UnsupportedParameter(f"tool_choice {request.tool_choice!r}: MLX models support 'auto' and 'none' only")
    if request.parallel_tool_calls is False:
        raise UnsupportedParameter("parallel_tool_calls false: an MLX model cannot be limited to one call")
    if shown_tools(request) and not tools_known:
        raise UnsupportedParameter("tools: this model's chat template does not support tool calls")
    if found := cloud_only(request):
        raise UnsupportedParameter(f"{found.field}: {found.why}")
    for name in request.chat_template_kwargs or {}:
        if name in _OURS:
            raise UnsupportedParameter(f"chat_template_kwargs.{name} cannot be set by a request")


def shown_tools(request: CompletionRequest) -> list[dict[str, Any]] | None:
    """The tools that the model sees: none with `tool_choice` "none"."""
    return list(request.tools) if request.tools and request.tool_choice != "none" else None


def render(tokenizer: Any, request: CompletionRequest) -> str:
    """The prompt as text, up to where the model continues. Raises `RequestRejected` with the template's own reason."""
    if not tokenizer.has_chat_template:
        raise RequestRejected("this model has no chat template, so it cannot take messages; use a model tuned for chat")
    options: dict[str, Any] = dict(request.template_options)
    if request.reasoning_effort is not None:
        options.setdefault("reasoning_effort", request.reasoning_effort)
    messages = [_plain(number, message) for number, message in enumerate(request.messages)]
    try:
        text = tokenizer.apply_chat_template(
            messages,
            tools=shown_tools(request),
            tokenize=False,
            add_generation_prompt=True,
            **options,
        )
    except Exception as exc:  # a template is a program by the model's author, and may raise anything
        raise RequestRejected(f"the model's chat template refuses these messages: {exc}") from exc
    return str(text)


def _plain(number: int, message: Message) -> dict[str, Any]:
    """The message as templates expect it: text, arguments as objects, no role `developer`, no field without a value."""
    plain: dict[str, Any] = {
        "role": "system" if message.role == "developer" else message.role,
        "content": message.text() or message.refusal or "",
    }
    for name in ("name", "tool_call_id"):
        if (value := getattr(message, name)) is not None:
            plain[name] = value
    if (reasoning := message.thoughts()) is not None:
        plain["reasoning_content"] = reasoning
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "id": call.id,
                "type": call.type,
                "function": {
                    "name": call.function.name,
                    "arguments": _arguments(call.function.arguments, f"messages[{number}].tool_calls"),
                },
            }
            for call in message.tool_calls
            if isinstance(call, ToolCall)  # there are no others: check_supported refuses them
        ]
    return plain


def _arguments(text: str, where: str) -> Any:
    try:
        return json.loads(text) if text.strip() else {}
    except RecursionError as exc:
        raise MalformedRequest(f"{where}: the arguments of a call are nested too deeply") from exc
    except ValueError as exc:
        raise MalformedRequest(f"{where}: the arguments of a call are not JSON: {exc}") from exc
