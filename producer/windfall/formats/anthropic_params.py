"""The params of an Anthropic batch line, as far as Windfall can honour them.

The shapes are those of Anthropic's Messages API (https://docs.anthropic.com/en/api/messages). Anything not listed here
is rejected by name: server tools, documents, containers (see the table in `windfall.fields`).

`cache_control` is accepted on every block and has no effect: shared prefixes are always computed only once.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from windfall.request import StrictBool, StrictFloat, StrictInt


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class CacheControl(_Shape):
    """A hint to cache up to here."""

    type: Literal["ephemeral"]
    ttl: str | None = None


class _Block(_Shape):
    cache_control: CacheControl | None = None


class TextBlock(_Block):
    """Text."""

    type: Literal["text"]
    text: str
    citations: tuple[JsonValue, ...] | None = None  # from an earlier answer; they mean nothing to a model


class Base64Source(_Shape):
    """An image in the request itself."""

    type: Literal["base64"]
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str


class URLSource(_Shape):
    """An image given by its URL."""

    type: Literal["url"]
    url: str


class ImageBlock(_Block):
    """An image."""

    type: Literal["image"]
    source: Annotated[Base64Source | URLSource, Field(discriminator="type")]


class ToolUseBlock(_Block):
    """A call that the model made."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, JsonValue]
    caller: dict[str, JsonValue] | None = None  # who called the tool: also from an earlier answer


class ToolResultBlock(_Block):
    """What a tool answered."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | tuple[Annotated[TextBlock | ImageBlock, Field(discriminator="type")], ...] | None = None
    is_error: Literal[False] | None = None  # OpenAI's tool messages have no such field


class ThinkingBlock(_Shape):
    """The model's thinking in an earlier turn; only Anthropic can use the signature."""

    type: Literal["thinking"]
    thinking: str
    signature: str | None = None


Block = Annotated[
    TextBlock | ImageBlock | ToolUseBlock | ToolResultBlock | ThinkingBlock,
    Field(discriminator="type"),
]


class AnthropicMessage(_Shape):
    """One turn."""

    role: Literal["user", "assistant"]
    content: str | tuple[Block, ...]


class Tool(_Block):
    """A tool that the user defines."""

    name: str
    description: str | None = None
    input_schema: dict[str, JsonValue]
    type: Literal["custom"] | None = None
    strict: StrictBool | None = None


class ToolChoice(_Shape):
    """Which tool the model may or must call."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: StrictBool | None = None


class Thinking(_Shape):
    """Whether the model thinks, and for how long."""

    type: Literal["enabled", "adaptive", "between_tools", "disabled"]
    budget_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    display: str | None = None


class OutputFormat(_Shape):
    """The shape of the answer."""

    type: Literal["json_schema"]
    schema_: dict[str, JsonValue] = Field(alias="schema")


class OutputConfig(_Shape):
    """How much effort the answer is worth, and its shape."""

    effort: str | None = None
    format: OutputFormat | None = None


class Metadata(_Shape):
    """Who the request is for."""

    user_id: str | None = None


class AnthropicParams(_Shape):
    """The body of a Messages request."""

    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    messages: tuple[AnthropicMessage, ...] = Field(min_length=1)
    max_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    system: str | tuple[TextBlock, ...] | None = None
    temperature: Annotated[StrictFloat, Field(ge=0, le=1)] | None = None
    top_p: Annotated[StrictFloat, Field(ge=0, le=1)] | None = None
    top_k: Annotated[StrictInt, Field(ge=0)] | None = None
    stop_sequences: tuple[Annotated[str, Field(min_length=1)], ...] | None = None
    metadata: Metadata | None = None
    stream: StrictBool | None = None
    tools: tuple[Tool, ...] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = None
    # Accepted, and named in the result as ignored.
    diagnostics: dict[str, JsonValue] | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    speed: Literal["standard", "fast"] | None = None
    user_profile_id: str | None = None

    def plain(self, *names: str) -> dict[str, Any]:
        """These fields unchanged, if they were given."""
        return {name: value for name in names if (value := getattr(self, name)) is not None}
