"""The result of a job, and its states on the way there."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, JsonValue

from windfall.message import CustomCall, CustomToolCall, FunctionCall, ToolCall
from windfall.shapes import Record


class JobState(StrEnum):
    """The states of a job; `docs/protocol.md` shows who may change one into which other."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether a job in this state has its result."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class Usage(Record):
    """Tokens of one completion, or summed over a batch."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0  #: prompt tokens read from the cache; part of `prompt_tokens`
    reasoning_tokens: int = 0  #: part of `completion_tokens`

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )


class TopLogprob(Record):
    """An alternative token at this position."""

    token: str
    logprob: float
    bytes: list[int] | None = None


class TokenLogprob(Record):
    """A token of the completion with its log-probability (natural logarithm)."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: tuple[TopLogprob, ...] = ()


def _known(call: Any) -> Any:
    """A tool call without fields that a newer version added: the strict request types must not lose us a result."""
    if not isinstance(call, dict):
        return call
    known = {name: value for name, value in call.items() if name in ToolCall.model_fields}
    if isinstance(function := known.get("function"), dict):
        known["function"] = {name: value for name, value in function.items() if name in FunctionCall.model_fields}
    return known


def _known_custom(call: Any) -> Any:
    """The same of a call of a custom tool."""
    if not isinstance(call, dict):
        return call
    known = {name: value for name, value in call.items() if name in CustomToolCall.model_fields}
    if isinstance(custom := known.get("custom"), dict):
        known["custom"] = {name: value for name, value in custom.items() if name in CustomCall.model_fields}
    return {"type": "custom"} | known


#: OpenAI's reasons for a completion's end. Another one is what the backend calls it, such as `pause_turn`.
FINISH_REASONS: Final = frozenset({"stop", "length", "tool_calls", "content_filter"})
#: The tiers that OpenAI's answers may name.
_SERVICE_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})


class Choice(Record):
    """One answer to a request."""

    content: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[Annotated[ToolCall, BeforeValidator(_known)], ...] = ()
    custom_tool_calls: tuple[Annotated[CustomToolCall, BeforeValidator(_known_custom)], ...] = ()
    refusal: str | None = None
    finish_reason: Annotated[str, Field(min_length=1, max_length=64)] = "stop"  #: usually one of `FINISH_REASONS`
    annotations: tuple[dict[str, JsonValue], ...] = ()  #: OpenAI's `url_citation`s
    citations: tuple[JsonValue, ...] = ()  #: sources in the backend's own format: Anthropic's objects, or addresses
    thinking_blocks: tuple[dict[str, JsonValue], ...] = ()  #: Anthropic's, with the signatures that it wants back
    reasoning_details: tuple[dict[str, JsonValue], ...] = ()  #: OpenRouter's, which it wants back
    logprobs: tuple[TokenLogprob, ...] | None = None


class Completion(Choice):
    """What a backend answered. If the request asked for several choices (`n`), `more` are those after the first.

    The usage is that of all choices together.
    """

    more: tuple[Choice, ...] = ()
    usage: Usage = Usage()
    model: str | None = None  #: the model's name as the backend gives it
    service_tier: str | None = None  #: the tier that served it, if the backend says so
    request_id: str | None = None  #: the backend's own id of the request, if it gives one
    time_to_first_token: float | None = None  #: seconds since the backend started on it
    tokens_per_second: float | None = None  #: of this sequence while it decoded


class ErrorInfo(Record):
    """Why there is no completion. `type` is for programs, `message` for people."""

    type: str
    message: str
    code: str | None = None  #: narrows `type`: `timeout`, `unreadable`
    param: str | None = None
    status: int | None = None  #: the HTTP status, if there was one


class Attempt(Record):
    """One try of a job on one backend: a line of the job's ledger."""

    backend: str
    model: str | None = None
    worker: str | None = None
    started_at: float  #: Unix seconds on Redis' clock
    duration: float | None = None  #: seconds
    outcome: Literal["completed", "failed", "lost", "ambiguous", "cancelled", "skipped"]
    error: ErrorInfo | None = None
    request_id: str | None = None
    usage: Usage | None = None
    moved_on: str | None = None  #: what was decided after it, and why
    retried: bool = False  #: whether the job was run again by hand after it; tries are counted from there


class Timings(Record):
    """Unix seconds on Redis' clock."""

    enqueued_at: float
    started_at: float | None = None  #: the last start
    finished_at: float

    @property
    def total(self) -> float:
        """Seconds from enqueueing to the result."""
        return self.finished_at - self.enqueued_at


class CompletionResult(Record):
    """The result of a job: a completion or an error, with its history."""

    job_id: str
    state: JobState
    model: str
    custom_id: str | None = None
    metadata: dict[str, str] | None = None
    fingerprint: str | None = None  #: of the request (see `windfall.fingerprint`); None if it could not be read
    ignored: tuple[str, ...] = ()  #: fields of the request that the backend has no use for
    copied_from: str | None = None  #: the row that asked the same, and whose answer this is
    completion: Completion | None = None
    error: ErrorInfo | None = None
    attempts: tuple[Attempt, ...] = ()
    timings: Timings
    backend: str | None = None
    worker: str | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a completion."""
        return self.state is JobState.COMPLETED

    @property
    def text(self) -> str:
        """The completion's text, or an empty string."""
        return (self.completion.content or "") if self.completion else ""

    @property
    def usage(self) -> Usage:
        """The tokens of every attempt that reported some, including billed attempts that failed."""
        total = Usage()
        for attempt in self.attempts:
            if attempt.usage is not None:
                total += attempt.usage
        return total


class Delta(Record):
    """A piece of a completion that is still being written, as yielded by `Producer.stream`.

    A delta with `attempt` set opens a new attempt and voids every piece before it.
    """

    content: str = ""
    reasoning: str = ""
    attempt: int | None = None
    extra: dict[str, JsonValue] = Field(default_factory=dict)


def openai_body(result: CompletionResult) -> dict[str, Any]:
    """The result as an OpenAI `chat.completion` object; only for a result with a completion."""
    completion = result.completion
    if completion is None:
        raise ValueError(f"job {result.job_id} has no completion")
    usage = completion.usage
    tier = {"service_tier": completion.service_tier} if completion.service_tier in _SERVICE_TIERS else {}
    return tier | {
        "id": f"chatcmpl-{result.job_id}",
        "object": "chat.completion",
        "created": int(result.timings.finished_at),
        "model": completion.model or result.model,
        "choices": [_choice(index, choice) for index, choice in enumerate((completion, *completion.more))],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        },
    }


def _choice(index: int, choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.content, "refusal": choice.refusal}
    if choice.reasoning is not None:
        message["reasoning"] = choice.reasoning
    if choice.tool_calls or choice.custom_tool_calls:
        calls = (*choice.tool_calls, *choice.custom_tool_calls)
        message["tool_calls"] = [call.model_dump(exclude_none=True) for call in calls]
    for name in ("annotations", "citations", "thinking_blocks", "reasoning_details"):
        if getattr(choice, name):
            message[name] = list(getattr(choice, name))
    logprobs = None
    if choice.logprobs is not None:
        logprobs = {"content": [token.model_dump() for token in choice.logprobs], "refusal": None}
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": choice.finish_reason}
