"""The blocks of a message of Anthropic's Messages API (https://platform.claude.com/docs/en/api/messages).

What only Anthropic's own tools write, and users send back as they got it, is not looked into.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, JsonValue, Tag

from windfall.message import CacheControl, RedactedThinkingBlock, ThinkingBlock
from windfall.shapes import Contract, StrictBool


class _Block(Contract):
    cache_control: CacheControl | None = None


class TextBlock(_Block):
    """Text."""

    type: Literal["text"]
    text: str
    citations: tuple[JsonValue, ...] | None = None  # from an earlier answer; they mean nothing to a model


class Base64Source(Contract):
    """An image in the request itself."""

    type: Literal["base64"]
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str


class URLSource(Contract):
    """An image or a document, given by its URL."""

    type: Literal["url"]
    url: str


class FileSource(Contract):
    """An image or a document that Anthropic keeps."""

    type: Literal["file"]
    file_id: str


class ImageBlock(_Block):
    """An image."""

    type: Literal["image"]
    source: Annotated[Base64Source | URLSource | FileSource, Field(discriminator="type")]
    transformations: dict[str, JsonValue] | None = None


class PDFSource(Contract):
    """A PDF in the request itself."""

    type: Literal["base64"]
    media_type: Literal["application/pdf"]
    data: str


class PlainTextSource(Contract):
    """A document that is plain text."""

    type: Literal["text"]
    media_type: Literal["text/plain"]
    data: str


class ContentSource(Contract):
    """A document made of text and images."""

    type: Literal["content"]
    content: str | tuple[Annotated[TextBlock | ImageBlock, Field(discriminator="type")], ...]


class Citations(Contract):
    """Whether the answer quotes its sources."""

    enabled: StrictBool | None = None


class DocumentBlock(_Block):
    """A document."""

    type: Literal["document"]
    source: Annotated[PDFSource | PlainTextSource | ContentSource | URLSource | FileSource, Field(discriminator="type")]
    citations: Citations | None = None
    context: str | None = None
    title: str | None = None


class SearchResultBlock(_Block):
    """A passage that a search of the user's own found."""

    type: Literal["search_result"]
    source: str
    title: str
    content: tuple[TextBlock, ...]
    citations: Citations | None = None


class ToolUseBlock(_Block):
    """A call that the model made."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, JsonValue]
    caller: dict[str, JsonValue] | None = None
    toolset_name: str | None = None


class AsGiven(_Block):
    """A block that only Anthropic's API understands; it is sent as it is."""

    model_config = ConfigDict(extra="allow")

    type: Literal[
        "bash_code_execution_tool_result",
        "browser_state",
        "code_execution_tool_result",
        "container_upload",
        "server_tool_use",
        "text_editor_code_execution_tool_result",
        "tool_reference",
        "tool_search_tool_result",
        "web_fetch_tool_result",
        "web_search_tool_result",
    ]


ResultBlock = Annotated[
    TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | AsGiven, Field(discriminator="type")
]


class ToolResultBlock(_Block):
    """What a tool answered."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | tuple[ResultBlock, ...] | None = None
    is_error: StrictBool | None = None
    toolset_name: str | None = None


Block = Annotated[
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ToolUseBlock
    | ToolResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | AsGiven,
    Field(discriminator="type"),
]


class AnthropicMessage(Contract):
    """One turn, or what the system says in between."""

    role: Literal["user", "assistant", "system"]
    content: str | tuple[Block, ...]


class Tool(_Block):
    """A tool that the user defines."""

    name: str
    description: str | None = None
    input_schema: dict[str, JsonValue]
    type: Literal["custom"] | None = None
    strict: StrictBool | None = None
    allowed_callers: tuple[str, ...] | None = None
    defer_loading: StrictBool | None = None
    eager_input_streaming: StrictBool | None = None
    input_examples: tuple[dict[str, JsonValue], ...] | None = None


class AnthropicTool(_Block):
    """A tool of Anthropic's own, which only its API knows; it is sent as it is."""

    model_config = ConfigDict(extra="allow")

    type: str


def _kind_of_tool(tool: Any) -> str:
    if isinstance(tool, Tool | AnthropicTool):
        return type(tool).__name__
    kind = tool.get("type") if isinstance(tool, dict) else None
    return "AnthropicTool" if isinstance(kind, str) and kind != "custom" else "Tool"


AnyTool = Annotated[
    Annotated[Tool, Tag("Tool")] | Annotated[AnthropicTool, Tag("AnthropicTool")], Discriminator(_kind_of_tool)
]
