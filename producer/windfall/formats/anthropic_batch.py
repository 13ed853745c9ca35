"""Anthropic batch lines -> request bodies.

A line is `{"custom_id", "params": {…}}` (https://docs.anthropic.com/en/api/creating-message-batches). Its params are
translated into OpenAI's terms; a field that has no equivalent there is rejected by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from pydantic import ValidationError

from windfall.errors import InvalidRequest
from windfall.explain import explain, unknown_field, vocabulary
from windfall.fields import ANTHROPIC, Verdict, without_empty_refused
from windfall.formats.anthropic_params import (
    AnthropicMessage,
    AnthropicParams,
    Base64Source,
    Block,
    ImageBlock,
    OutputConfig,
    TextBlock,
    ThinkingBlock,
    Tool,
    ToolChoice,
    ToolResultBlock,
    ToolUseBlock,
)

_ENVELOPE: Final = frozenset({"custom_id", "params"})
_PASSED_OVER: Final = tuple(name for name, (verdict, _) in ANTHROPIC.items() if verdict is Verdict.PASSED_OVER)
_WORDS: Final = vocabulary(AnthropicParams)


def is_anthropic_line(row: dict[str, Any]) -> bool:
    """Whether this row is an Anthropic batch line."""
    return "params" in row


def unwrap(row: dict[str, Any]) -> dict[str, Any]:
    """The row as an OpenAI body that includes the line's `custom_id`. Raises `InvalidRequest`."""
    for name in row:
        if name not in _ENVELOPE:
            raise InvalidRequest(unknown_field(name, _ENVELOPE), field=name)
    if not isinstance(row["params"], dict):
        raise InvalidRequest("must be a JSON object", field="params")
    try:
        params = AnthropicParams.model_validate(without_empty_refused(row["params"]))
    except ValidationError as exc:
        raise explain(exc, row["params"], _WORDS, "params.") from None  # the cause quotes the prompt
    body = translate(params)
    return body | {"custom_id": row["custom_id"]} if "custom_id" in row else body


def translate(params: AnthropicParams) -> dict[str, Any]:
    """Messages params as an OpenAI body. Raises `InvalidRequest` for anything that has no equivalent."""
    body = params.plain("model", "max_tokens", "temperature", "top_p", "top_k", "stream")
    body["messages"] = list(_messages(params))
    if params.stop_sequences:
        body["stop"] = list(params.stop_sequences)
    if params.metadata and params.metadata.user_id:
        body["user"] = params.metadata.user_id
    if params.tools is not None:
        body["tools"] = [_tool(tool) for tool in params.tools]
    if params.tool_choice is not None:
        body |= _tool_choice(params.tool_choice)
    if params.thinking is not None:
        body["thinking"] = params.thinking.model_dump(exclude_none=True)
    if params.output_config is not None:
        body |= _output(params.output_config)
    if ignored := params.plain(*_PASSED_OVER):
        body["ignored"] = sorted(ignored)
    return body


def _output(config: OutputConfig) -> dict[str, Any]:
    said: dict[str, Any] = {"reasoning_effort": config.effort} if config.effort else {}
    if config.format:
        schema = {"name": "output", "schema": config.format.schema_}
        said["response_format"] = {"type": config.format.type, "json_schema": schema}
    return said


def _messages(params: AnthropicParams) -> Iterator[dict[str, Any]]:
    if params.system:
        yield {"role": "system", "content": _content(params.system)}
    if params.messages[-1].role == "assistant":
        last = len(params.messages) - 1
        raise InvalidRequest(
            "a final assistant turn cannot be continued (prefilling is not supported)",
            field=f"params.messages.{last}.role",
        )
    for number, message in enumerate(params.messages):
        if isinstance(message.content, str):
            yield {"role": message.role, "content": message.content}
            continue
        _check_blocks(message, f"params.messages.{number}.content")
        yield from _user_turn(message.content) if message.role == "user" else [_assistant_turn(message.content)]


def _check_blocks(message: AnthropicMessage, field: str) -> None:
    if not message.content:
        raise InvalidRequest("is empty", field=field)
    foreign = (ToolUseBlock, ThinkingBlock) if message.role == "user" else (ImageBlock, ToolResultBlock)
    for number, block in enumerate(message.content):
        if isinstance(block, foreign):
            reason = f"a message of role {message.role!r} cannot have a block of type {block.type!r}"
            raise InvalidRequest(reason, field=f"{field}.{number}.type")


def _user_turn(blocks: tuple[Block, ...]) -> Iterator[dict[str, Any]]:
    """Tool results become separate messages, as OpenAI requires; the blocks between them stay one message."""
    parts: list[TextBlock | ImageBlock] = []
    for block in blocks:
        if isinstance(block, ToolResultBlock):
            if parts:
                yield {"role": "user", "content": _content(tuple(parts))}
                parts = []
            yield {"role": "tool", "tool_call_id": block.tool_use_id, "content": _content(block.content or "")}
        elif isinstance(block, TextBlock | ImageBlock):
            parts.append(block)
    if parts:
        yield {"role": "user", "content": _content(tuple(parts))}


def _assistant_turn(blocks: tuple[Block, ...]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant"}
    texts = tuple(block for block in blocks if isinstance(block, TextBlock))
    calls = [_tool_call(block) for block in blocks if isinstance(block, ToolUseBlock)]
    thoughts = [block.thinking for block in blocks if isinstance(block, ThinkingBlock)]
    if texts or not calls:
        message["content"] = _content(texts)
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    return message


def _content(blocks: str | tuple[TextBlock | ImageBlock, ...]) -> str | list[dict[str, Any]]:
    if isinstance(blocks, str):
        return blocks
    if len(blocks) == 1 and isinstance(blocks[0], TextBlock):
        return blocks[0].text
    return [_part(block) for block in blocks]


def _part(block: TextBlock | ImageBlock) -> dict[str, Any]:
    if isinstance(block, TextBlock):
        return {"type": "text", "text": block.text}
    source = block.source
    url = f"data:{source.media_type};base64,{source.data}" if isinstance(source, Base64Source) else source.url
    return {"type": "image_url", "image_url": {"url": url}}


def _tool_call(block: ToolUseBlock) -> dict[str, Any]:
    arguments = json.dumps(block.input, ensure_ascii=False)
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice) -> dict[str, Any]:
    words: dict[str, Any] = {"auto": "auto", "any": "required", "none": "none"}
    if choice.type == "tool":
        if not choice.name:
            raise InvalidRequest("is missing", field="params.tool_choice.name")
        said: Any = {"type": "function", "function": {"name": choice.name}}
    else:
        said = words[choice.type]
    if choice.disable_parallel_tool_use is None:
        return {"tool_choice": said}
    return {"tool_choice": said, "parallel_tool_calls": not choice.disable_parallel_tool_use}
