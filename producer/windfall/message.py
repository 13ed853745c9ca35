"""The messages of OpenAI's chat completions, with what OpenAI-compatible gateways add to reach Anthropic's models.

Those additions have LiteLLM's and OpenRouter's names: `cache_control` on a part, a message or a tool, `thinking_blocks`
and `reasoning_details` on an assistant's message. Fields that the SDKs add to answers, which users send back as turns,
are accepted and dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, JsonValue, Tag, model_validator

from windfall.fields import HINTS
from windfall.shapes import Contract

#: A field of an answer that a request does not have.
_Dropped = Annotated[JsonValue, Field(exclude=True)]


class CacheControl(Contract):
    """Anthropic's mark: cache the prompt up to here."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class CacheBreakpoint(Contract):
    """OpenAI's mark: cache the prompt up to here."""

    mode: Literal["explicit"]
    ttl: Literal["30m", "12h"] | None = None


class _Part(Contract):
    cache_control: CacheControl | None = None
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class TextPart(_Part):
    """A part of a message that is text."""

    type: Literal["text"]
    text: str


class ImageURL(Contract):
    """The address (or `data:` URL) of an image."""

    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(_Part):
    """A part of a message that is an image; only some cloud backends take it."""

    type: Literal["image_url"]
    image_url: ImageURL


class InputAudio(Contract):
    """Recorded sound, in base64."""

    data: str
    format: str


class AudioPart(_Part):
    """A part of a message that is sound; only some cloud backends take it."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class File(Contract):
    """A file in the request itself (`file_data`: a `data:` URL, or base64), or one that the provider keeps."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(_Part):
    """A part of a message that is a file; only some cloud backends take it."""

    type: Literal["file"]
    file: File


class RefusalPart(Contract):
    """A part of an assistant's message that is a refusal."""

    type: Literal["refusal"]
    refusal: str


Part = Annotated[TextPart | ImagePart | AudioPart | FilePart | RefusalPart, Field(discriminator="type")]


class FunctionCall(Contract):
    """The function that a tool call names; `arguments` is JSON text, as OpenAI has it."""

    name: str
    arguments: str
    parsed_arguments: _Dropped = None


class ToolCall(Contract):
    """A call of a function that the model made."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall
    extra_content: dict[str, JsonValue] | None = None  #: Gemini's: the signature of a thought, which it wants back
    index: _Dropped = None


class CustomCall(Contract):
    """The custom tool that a call names, and the text that it gets."""

    name: str
    input: str


class CustomToolCall(Contract):
    """A call of a custom tool that the model made; only OpenAI's API takes it back."""

    id: str
    type: Literal["custom"]
    custom: CustomCall
    index: _Dropped = None


def _kind_of_call(call: Any) -> str:
    kind = call.get("type") if isinstance(call, dict) else getattr(call, "type", None)
    return "custom" if kind == "custom" else "function"


AnyToolCall = Annotated[
    Annotated[ToolCall, Tag("function")] | Annotated[CustomToolCall, Tag("custom")], Discriminator(_kind_of_call)
]


class ThinkingBlock(Contract):
    """Thinking of an earlier turn; only Anthropic can use the signature."""

    type: Literal["thinking"]
    thinking: str
    signature: str | None = None


class RedactedThinkingBlock(Contract):
    """Thinking of an earlier turn that only Anthropic can read."""

    type: Literal["redacted_thinking"]
    data: str


class AudioAnswer(Contract):
    """An earlier answer in sound, which OpenAI keeps."""

    id: str
    data: _Dropped = None
    expires_at: _Dropped = None
    transcript: _Dropped = None


def _is_original(part: Part) -> bool:
    return isinstance(part, ImagePart) and part.image_url.detail == "original"


class Message(Contract):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | tuple[Part, ...] | None = None
    audio: AudioAnswer | None = None
    function_call: None = Field(default=None, exclude=True)
    annotations: _Dropped = None
    citations: _Dropped = None
    parsed: _Dropped = None
    provider_specific_fields: _Dropped = None
    name: str | None = None
    # An empty list means none, and OpenAI's API refuses it.
    tool_calls: Annotated[tuple[AnyToolCall, ...] | None, AfterValidator(lambda calls: calls or None)] = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    reasoning_details: tuple[JsonValue, ...] | None = None
    thinking_blocks: (
        tuple[Annotated[ThinkingBlock | RedactedThinkingBlock, Field(discriminator="type")], ...] | None
    ) = None
    cache_control: CacheControl | None = None

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        said = self.tool_calls or self.thinking_blocks or self.audio
        if self.content is None and not said and self.refusal is None:
            raise ValueError(f"a message of role {self.role!r} needs content")
        if self.role == "tool" and not self.tool_call_id:
            raise ValueError("a message of role 'tool' needs tool_call_id")
        return self

    def text(self) -> str:
        """All text of the message, parts joined; images, files and sound contribute nothing."""
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        said = (part.refusal if isinstance(part, RefusalPart) else getattr(part, "text", "") for part in self.content)
        return "".join(said)

    def thoughts(self) -> str | None:
        """The reasoning of this turn as text, under whichever name it came; None without any."""
        for said in (self.reasoning_content, self.reasoning):
            if said:
                return said
        blocks = [block.thinking for block in self.thinking_blocks or () if isinstance(block, ThinkingBlock)]
        return "".join(blocks) if blocks else None

    @property
    def is_new(self) -> bool:
        """Whether it holds kinds of parts or calls that the first version of the contract refused."""
        if isinstance(self.content, str) and self.tool_calls is None and self.audio is None:
            return False  # nearly all messages
        parts = self.content if isinstance(self.content, tuple) else ()
        news = (isinstance(part, AudioPart | FilePart | RefusalPart) or _is_original(part) for part in parts)
        return self.audio is not None or any(news) or any(call.type == "custom" for call in self.tool_calls or ())

    def hints(self) -> Iterator[str]:
        """The fields of `windfall.fields.HINTS` that are set in it."""
        for holder in (self, *(self.content if isinstance(self.content, tuple) else ())):
            yield from (name for name in HINTS & holder.model_fields_set if getattr(holder, name) is not None)
