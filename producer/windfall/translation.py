"""A request in Anthropic's words, said in OpenAI's: for engines, and for APIs that speak OpenAI's protocol.

What OpenAI's words cannot say is refused by name where the answer would be another without it, and otherwise named in
the request's `ignored`. What is said in another way:

    document of plain text, or of content   text parts, headed by its title and context
    document that is a PDF                  a file part
    search_result                           a text part: title, source and text
    tool_result with is_error               its text after "Error: "
    thinking                                reasoning_content; without its signature, which only Anthropic can check
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, Final

from windfall.anthropic_blocks import AnthropicTool, Tool
from windfall.anthropic_body import AnthropicBody, NamedToolChoice
from windfall.errors import InvalidRequest
from windfall.fields import ANTHROPIC, Verdict
from windfall.request import CompletionRequest
from windfall.translated_turns import Turns

_SAME: Final = ("max_tokens", "temperature", "top_p", "top_k")
#: Fields that say where a request runs, or what it runs with: another backend would not do the same.
_REFUSED: Final = {
    "container": "only Anthropic's API has containers",
    "inference_geo": "only Anthropic's API can say where a request is processed",
}
_IGNORED: Final = tuple(name for name, (verdict, _) in ANTHROPIC.items() if verdict is Verdict.PASSED_OVER)


def in_openai_words(request: CompletionRequest) -> CompletionRequest:
    """This request in OpenAI's words: itself, unless its body is Anthropic's.

    Raises `InvalidRequest` for what cannot be said in them; its `field` is a path in Anthropic's body.
    """
    if request.anthropic is None:
        return request
    body, ignored = _body(request.anthropic)
    said = request.model_dump(exclude={"anthropic", "ignored"}, exclude_unset=True)
    names = tuple(sorted({*request.ignored, *ignored}))
    return CompletionRequest.model_validate(said | body | ({"ignored": names} if names else {}))


def _body(params: AnthropicBody) -> tuple[dict[str, Any], set[str]]:
    for name, why in _REFUSED.items():
        if getattr(params, name) is not None:
            raise InvalidRequest(why, field=name)
    turns = Turns()
    body = _given(params, _SAME) | {"messages": turns.of(params)}
    ignored = turns.ignored | _given(params, _IGNORED).keys()
    if params.stop_sequences:
        body["stop"] = params.stop_sequences
    if params.metadata and params.metadata.user_id:
        body["user"] = params.metadata.user_id
    if params.tools is not None:
        body["tools"] = [_tool(number, tool) for number, tool in enumerate(params.tools)]
        ignored |= {"cache_control" for tool in params.tools if tool.cache_control}
        ignored |= {"eager_input_streaming" for tool in params.tools if getattr(tool, "eager_input_streaming", None)}
    if params.thinking is not None:
        body["thinking"] = params.thinking.model_dump(exclude_none=True)
    return body | _tool_choice(params) | _output(params), ignored


def _given(params: AnthropicBody, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(params, name)) is not None}


def _output(params: AnthropicBody) -> dict[str, Any]:
    config = params.output_config
    said: dict[str, Any] = {"reasoning_effort": config.effort} if config and config.effort else {}
    if config and config.format:
        schema = {"name": "output", "schema": config.format["schema"]}
        said["response_format"] = {"type": "json_schema", "json_schema": schema}
    return said


def _tool(number: int, tool: Tool | AnthropicTool) -> dict[str, Any]:
    if isinstance(tool, AnthropicTool):
        raise InvalidRequest(f"only Anthropic's API has the tool {tool.type!r}", field=f"tools.{number}.type")
    if set(tool.allowed_callers or ()) - {"direct"}:
        why = "only Anthropic's API lets other tools call a tool"
        raise InvalidRequest(why, field=f"tools.{number}.allowed_callers")
    for name in ("defer_loading", "input_examples"):
        if getattr(tool, name):
            raise InvalidRequest("only Anthropic's API has it", field=f"tools.{number}.{name}")
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.input_schema}
    function |= {name: said for name in ("description", "strict") if (said := getattr(tool, name)) is not None}
    return {"type": "function", "function": function}


def _tool_choice(params: AnthropicBody) -> dict[str, Any]:
    choice = params.tool_choice
    if choice is None:
        return {}
    words: dict[str, Any] = {"auto": "auto", "any": "required", "none": "none"}
    if isinstance(choice, NamedToolChoice):
        said: Any = {"type": "function", "function": {"name": choice.name}}
    else:
        said = words[choice.type]
    if choice.disable_parallel_tool_use is None:
        return {"tool_choice": said}
    return {"tool_choice": said, "parallel_tool_calls": not choice.disable_parallel_tool_use}


def left_out(request: CompletionRequest, known: AbstractSet[str]) -> tuple[str, ...]:
    """What a backend that speaks OpenAI's words leaves out of this request, besides what is already in its `ignored`.

    `known` are the fields of `windfall.fields.PASSED_OVER` and `HINTS` that the backend has a use for.
    """
    said = in_openai_words(request)
    names = {*said.ignored, *said.passed_over(known), *(said.hints() - known)}
    return tuple(sorted(names - set(request.ignored)))
