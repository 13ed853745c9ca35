"""What a user asks for: one completion.

The body is OpenAI's chat-completions body (https://platform.openai.com/docs/api-reference/chat/create), with the
sampling fields that mlx-lm adds (`top_k`, `min_p`, `repetition_penalty`, `chat_template_kwargs`) and the fields by
which Windfall places the job (`route`, `priority`, `deadline`, `custom_id`, `on_ambiguous`). An unknown field is an
error that names it. If a backend cannot honour a known field, it rejects the request, naming the field, if the answer
would be different without it; otherwise the result's `ignored` names it (`windfall.fields` has the table).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from windfall.anthropic_body import AnthropicBody
from windfall.fields import PASSED_OVER
from windfall.message import FunctionCall, ImagePart, ImageURL, Message, TextPart, ToolCall
from windfall.request_limits import check_logit_bias, check_stop
from windfall.shapes import Contract, Record, StrictBool, StrictFloat, StrictInt

# Message and its parts may be imported from here as well.
__all__ = [
    "CompletionRequest",
    "Contract",
    "FunctionCall",
    "ImagePart",
    "ImageURL",
    "Message",
    "ModelName",
    "Record",
    "Route",
    "StreamOptions",
    "TextPart",
    "ToolCall",
    "anthropic_row",
    "is_model_name",
]

#: The suffix of the key of a lane's held jobs: no model's name may end with it.
_HELD: Final = ":held"


def is_model_name(name: str) -> bool:
    """Whether this is a valid model name: it becomes part of lane names."""
    return 0 < len(name) <= 256 and not name.endswith(_HELD) and not any(ord(c) < 32 or ord(c) == 127 for c in name)


def _checked_model(name: str) -> str:
    if not is_model_name(name):
        raise ValueError(f"must be without control characters, and not end in {_HELD!r}")
    return name


ModelName = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_checked_model)]


class Route(StrEnum):
    """Where a request may run."""

    LOCAL = "local"  #: only on the user's own machines, whatever fails
    AUTO = "auto"  #: on the user's machines first, in the cloud if they cannot
    CLOUD = "cloud"  #: straight to the cloud


class StreamOptions(Contract):
    """OpenAI's stream options; usage is always in the result, so both are accepted and have no effect."""

    include_usage: StrictBool | None = None
    include_obfuscation: StrictBool | None = None


#: The fields that place a job and are not part of an OpenAI body.
PLACEMENT_FIELDS: Final = frozenset({"route", "priority", "deadline", "custom_id", "on_ambiguous", "ignored", "minor"})


#: The fields that a request whose body is Anthropic's may have.
BESIDE_ANTHROPIC: Final = PLACEMENT_FIELDS | {"model", "anthropic", "stream", "stream_options", "metadata"}

#: What `thinking.type` may be.
THINKING: Final = frozenset({"enabled", "adaptive", "between_tools", "disabled"})


class CompletionRequest(Contract):
    """One completion that a user asks for. See the module's docstring for where each field comes from."""

    model: ModelName
    #: the whole body in the words of Anthropic's API instead of the fields below
    anthropic: AnthropicBody | None = None
    messages: tuple[Message, ...] = ()  #: at least one, unless there is `anthropic`

    max_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    temperature: Annotated[StrictFloat, Field(ge=0, le=2)] | None = None
    top_p: Annotated[StrictFloat, Field(ge=0, le=1)] | None = None
    top_k: Annotated[StrictInt, Field(ge=0)] | None = None
    min_p: Annotated[StrictFloat, Field(ge=0, le=1)] | None = None
    stop: str | tuple[str, ...] | None = None
    seed: StrictInt | None = None
    n: Annotated[StrictInt, Field(ge=1, le=128)] | None = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    presence_penalty: Annotated[StrictFloat, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[StrictFloat, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[StrictFloat, Field(gt=0)] | None = None
    logit_bias: dict[str, Annotated[StrictFloat, Field(ge=-100, le=100)]] | None = None
    tools: tuple[dict[str, JsonValue], ...] | None = None
    tool_choice: str | dict[str, JsonValue] | None = None
    parallel_tool_calls: StrictBool | None = None
    response_format: dict[str, JsonValue] | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, JsonValue] | None = None
    stream: Annotated[StrictBool, BeforeValidator(lambda said: False if said is None else said)] = False
    stream_options: StreamOptions | None = None
    thinking: dict[str, JsonValue] | None = None  #: Anthropic's: {"type": "enabled" | "adaptive" | "disabled", …}
    user: str | None = None
    safety_identifier: str | None = None
    store: StrictBool | None = None
    service_tier: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    modalities: Annotated[tuple[Literal["text"], ...], Field(min_length=1, max_length=1)] | None = None
    prediction: dict[str, JsonValue] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, JsonValue] | None = None
    prompt_cache_retention: str | None = None
    ignore_eos: StrictBool | None = None
    web_search_options: dict[str, JsonValue] | None = None
    metadata: dict[str, str] | None = None

    route: Route = Route.AUTO
    priority: Annotated[StrictInt, Field(ge=-9, le=9)] = 0
    deadline: Annotated[StrictFloat, Field(gt=0, le=1e10)] | None = None  #: seconds from enqueueing
    custom_id: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    on_ambiguous: Literal["retry", "fail"] = "retry"
    ignored: tuple[Annotated[str, Field(max_length=64)], ...] = Field(default=(), max_length=32)
    #: fields of another protocol's body that were left out when it was translated
    minor: StrictInt | None = None
    #: set on the wire: the minor version of the contract that first had what this request holds (see `windfall.wire`)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        self._check_body()
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise ValueError("max_tokens and max_completion_tokens differ; give one of them")
        if self.thinking is not None and self.thinking.get("type") not in THINKING:
            raise ValueError("thinking.type must be 'enabled', 'adaptive', 'between_tools' or 'disabled'")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs to be true")
        if self.stop:  # an empty string means no stop strings
            check_stop(self.stop_words)
        check_logit_bias(self.logit_bias or {})
        return self

    def _check_body(self) -> None:
        if self.anthropic is None:
            if not self.messages:
                raise _without_messages(given="messages" in self.model_fields_set)
            return
        for name in sorted(self.model_fields_set - BESIDE_ANTHROPIC):
            if getattr(self, name) not in (None, ()):
                raise ValueError(f"anthropic holds the whole body; {name} cannot be given beside it")

    @property
    def token_limit(self) -> int | None:
        """The most tokens the completion may have, or None if the request does not say."""
        if self.anthropic:
            return self.anthropic.max_tokens
        return self.max_completion_tokens if self.max_tokens is None else self.max_tokens

    @property
    def stop_words(self) -> tuple[str, ...]:
        """The stop strings, however they were given."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else self.stop

    @property
    def template_options(self) -> dict[str, JsonValue]:
        """The options for a local model's chat template, including whether the model thinks."""
        options = dict(self.chat_template_kwargs or {})
        if self.thinking is not None:
            options.setdefault("enable_thinking", self.thinking["type"] != "disabled")
        return options

    def passed_over(self, known: Collection[str] = ()) -> tuple[str, ...]:
        """The fields set here that a backend ignores if it knows only the `known` ones of `PASSED_OVER`."""
        return tuple(sorted(name for name in PASSED_OVER.difference(known) if getattr(self, name) is not None))

    @property
    def is_new(self) -> bool:
        """Whether it holds values, not only fields, that versions before minor version 1 of the contract refuse."""
        if self.n is not None and self.n > 1:
            return True
        return any([message.is_new for message in self.messages])  # noqa: C419 - of few items, a list is cheaper than a generator

    def hints(self) -> frozenset[str]:
        """The fields of `windfall.fields.HINTS` that are set in its messages and tools."""
        found = {name for message in self.messages for name in message.hints()}
        holders = (holder for tool in self.tools or () for holder in (tool, _function_of(tool)))
        marked = any("cache_control" in holder for holder in holders)
        return frozenset(found | ({"cache_control"} if marked else set()))

    def body(self) -> dict[str, Any]:
        """The OpenAI body of this request: what the user set, without the fields that only place the job."""
        body = self.model_dump(
            mode="json", exclude={*PLACEMENT_FIELDS, "anthropic"}, exclude_none=True, exclude_unset=True
        )
        if biases := body.get("logit_bias"):
            # Servers with strict types take no -100.0.
            body["logit_bias"] = {token: int(bias) if bias.is_integer() else bias for token, bias in biases.items()}
        return body

    @classmethod
    def from_anthropic(cls, params: Mapping[str, Any], **placement: Any) -> Self:
        """The request for the params of Anthropic's `messages.create`. Raises `pydantic.ValidationError`.

        `placement` are further fields of a request, such as `route` and `custom_id`.
        """
        return cls.model_validate(anthropic_row(params) | placement)


def _without_messages(*, given: bool) -> ValidationError:
    """The error of a field that has to be there: pydantic takes it over with its place."""
    short: InitErrorDetails = {
        "type": PydanticCustomError("too_short", "Tuple should have at least 1 item", {"actual_length": 0}),
        "loc": ("messages",),
        "input": (),
    }
    missing: InitErrorDetails = {"type": "missing", "loc": ("messages",), "input": {}}
    return ValidationError.from_exception_data("CompletionRequest", [short if given else missing])


def _function_of(tool: dict[str, JsonValue]) -> dict[str, JsonValue]:
    function = tool.get("function")
    return function if isinstance(function, dict) else {}


def anthropic_row(params: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request for the params of Anthropic's `messages.create`, not validated yet."""
    beside = {name: params[name] for name in ("model", "stream") if params.get(name) is not None}
    return beside | {"anthropic": {name: value for name, value in params.items() if name not in ("model", "stream")}}
