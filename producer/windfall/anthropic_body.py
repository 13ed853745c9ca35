"""A request in the words of Anthropic's Messages API, which gets it as it was given.

`model` and `stream` are those of the `CompletionRequest` that holds it. Blocks are in `anthropic_blocks`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue

from windfall.anthropic_blocks import AnthropicMessage, AnyTool, TextBlock
from windfall.message import CacheControl
from windfall.request_limits import check_stop
from windfall.shapes import Contract, StrictBool, StrictFloat, StrictInt


class _Choice(Contract):
    disable_parallel_tool_use: StrictBool | None = None


class FreeToolChoice(_Choice):
    """Whether the model may or must call some tool."""

    type: Literal["auto", "any", "none"]


class NamedToolChoice(_Choice):
    """Which tool the model must call."""

    type: Literal["tool"]
    name: str


class Thinking(Contract):
    """Whether the model thinks, and for how long."""

    type: Literal["enabled", "adaptive", "between_tools", "disabled"]
    budget_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    display: str | None = None


def _checked_format(said: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if said.get("type") != "json_schema" or not isinstance(said.get("schema"), dict):
        raise ValueError('must be {"type": "json_schema", "schema": {…}}')
    return said


class OutputConfig(Contract):
    """How much effort the answer is worth, and its shape."""

    effort: str | None = None
    format: Annotated[dict[str, JsonValue], AfterValidator(_checked_format)] | None = None


class Metadata(Contract):
    """Who the request is for."""

    user_id: str | None = None


def _checked_stop(stop: tuple[str, ...]) -> tuple[str, ...]:
    check_stop(stop, "stop_sequences")
    return stop


class AnthropicBody(Contract):
    """The body of a Messages request, but for its model and whether it is a stream."""

    messages: tuple[AnthropicMessage, ...] = Field(min_length=1)
    max_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    system: str | tuple[TextBlock, ...] | None = None
    temperature: Annotated[StrictFloat, Field(ge=0, le=1)] | None = None
    top_p: Annotated[StrictFloat, Field(ge=0, le=1)] | None = None
    top_k: Annotated[StrictInt, Field(ge=0)] | None = None
    stop_sequences: Annotated[tuple[str, ...], AfterValidator(_checked_stop)] | None = None
    metadata: Metadata | None = None
    tools: tuple[AnyTool, ...] | None = None
    tool_choice: Annotated[FreeToolChoice | NamedToolChoice, Field(discriminator="type")] | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = None
    container: str | dict[str, JsonValue] | None = None
    inference_geo: str | None = None
    diagnostics: dict[str, JsonValue] | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    speed: Literal["standard", "fast"] | None = None

    def body(self) -> dict[str, Any]:
        """The body as it was given, but for top-level nulls."""
        said = self.model_dump(mode="json", exclude_unset=True)
        return {name: value for name, value in said.items() if value is not None}
