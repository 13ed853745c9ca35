"""The spans of a job on a worker: one for each claim of it, and within that one for each attempt.

Attributes follow OpenTelemetry's semantic conventions for generative AI and for messaging. No span holds a prompt, a
completion, or the text of an error, which may quote one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Self

from structlog.contextvars import bind_contextvars

from windfall.errors import BackendError
from windfall.keys import batch_of
from windfall.request import CompletionRequest
from windfall.result import Completion, CompletionResult, JobState
from windfall.telemetry.tracing import context_of, tracer
from windfall_worker.backends.routing import GuardedBackend
from windfall_worker.jobs.job import RunningJob

#: Fields of a request, and their names in a span.
_ASKED: Final = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "seed": "gen_ai.request.seed",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "token_limit": "gen_ai.request.max_tokens",
}


class _NoSpan:
    """Stands in for a span when tracing is off."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def ended(self, result: CompletionResult) -> None:
        """The job has its result."""

    def completed(self, completion: Completion) -> None:
        """The attempt has its completion."""


_NO_SPAN: Final = _NoSpan()


class _Span(_NoSpan):
    """A span that is current inside its body."""

    def __init__(self, span: Any) -> None:
        from opentelemetry.trace import use_span  # noqa: PLC0415 - an extra

        self._span = span
        # An exception's text may quote the prompt: only its type is recorded, below.
        self._current: Any = use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False)

    def __enter__(self) -> Self:
        self._current.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        _, exc, _ = raised
        if isinstance(exc, BackendError):
            self._fail(exc.kind)
        elif isinstance(exc, asyncio.CancelledError):
            self._span.set_attribute("windfall.outcome", "stopped")
        elif exc is not None and (decision := getattr(exc, "decision", None)) is not None:
            self._span.set_attribute("windfall.outcome", type(decision).__name__.lower())
        elif exc is not None:
            self._fail(type(exc).__name__)
        self._current.__exit__(*raised)

    def _fail(self, kind: str) -> None:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - an extra

        self._span.set_attribute("error.type", kind)
        self._span.set_status(StatusCode.ERROR)

    def ended(self, result: CompletionResult) -> None:
        """The job has its result."""
        self._span.set_attribute("windfall.outcome", result.state.value)
        if result.state is JobState.FAILED and result.error:
            self._fail(result.error.type)

    def completed(self, completion: Completion) -> None:
        """The attempt has its completion."""
        usage = completion.usage
        facts: dict[str, Any] = {
            "gen_ai.response.finish_reasons": (completion.finish_reason,),
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        }
        if completion.model:
            facts["gen_ai.response.model"] = completion.model
        if completion.request_id:
            facts["windfall.request_id"] = completion.request_id
        self._span.set_attributes(facts)


def job_span(job: RunningJob, carried: Mapping[str, str]) -> _NoSpan:
    """A span around everything that is done with a claimed job; a child of the span that enqueued it."""
    made = tracer()
    if made is None:
        return _NO_SPAN
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - an extra

    facts: dict[str, Any] = {
        "messaging.system": "windfall",
        "messaging.operation.type": "process",
        "messaging.destination.name": job.lane,
        "messaging.message.id": job.id,
        "windfall.worker": job.context.worker,
        "windfall.wait": max(0.0, job.now - job.enqueued_at),
    }
    if batch := batch_of(job.id):
        facts["windfall.batch"] = batch
    span = made.start_span(f"job {job.model}", context=context_of(carried), kind=SpanKind.CONSUMER, attributes=facts)
    context = span.get_span_context()
    if context.is_valid:
        bind_contextvars(trace_id=f"{context.trace_id:032x}")
    return _Span(span)


def attempt_span(job: RunningJob, request: CompletionRequest, guarded: GuardedBackend, number: int) -> _NoSpan:
    """A span around one call of a backend; a child of the job's span."""
    made = tracer()
    if made is None:
        return _NO_SPAN
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - an extra

    model = guarded.backend.model_name or request.model
    facts: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": guarded.backend.name,
        "gen_ai.request.model": model,
        "windfall.attempt": number,
    }
    asked = {attribute: getattr(request, field) for field, attribute in _ASKED.items()}
    if request.anthropic is not None:
        asked |= {attribute: getattr(request.anthropic, field, None) for field, attribute in _ASKED.items()}
        asked[_ASKED["token_limit"]] = request.token_limit
    facts |= {attribute: value for attribute, value in asked.items() if value is not None}
    served_by = job.context.backends.get(request.model)
    here = served_by is not None and served_by.local is guarded
    kind = SpanKind.INTERNAL if here else SpanKind.CLIENT
    return _Span(made.start_span(f"chat {model}", kind=kind, attributes=facts))
