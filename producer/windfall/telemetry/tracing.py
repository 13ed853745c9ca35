"""OpenTelemetry traces: the span in which jobs are enqueued, and the context that their messages carry.

Tracing is off unless the program has loaded OpenTelemetry (`trace_export` does on request); all of this then costs one
dictionary lookup. Spans go to the program's own tracer provider. No span holds a prompt.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def tracer() -> Any | None:
    """The tracer, or None if tracing is off."""
    trace = sys.modules.get("opentelemetry.trace")
    return None if trace is None else trace.get_tracer("windfall")


def carrier() -> dict[str, str] | None:
    """The current span as W3C's `traceparent`, for a message to carry; None if tracing is off."""
    if tracer() is None:
        return None
    found: dict[str, str] = {}
    _propagator().inject(found)
    return found or None


def context_of(carried: Mapping[str, str]) -> Any:
    """The context that a message carried, for starting a span in it. Call it only if tracing is on."""
    return _propagator().extract(carried)


@contextmanager
def enqueueing(what: str, **attributes: str) -> Iterator[None]:
    """A span around the enqueueing of jobs; their messages carry what `carrier` returns inside it."""
    made = tracer()
    if made is None:
        yield
        return
    from opentelemetry.trace import SpanKind, StatusCode  # noqa: PLC0415 - an extra

    facts = {"messaging.system": "windfall", "messaging.operation.type": "send", **attributes}
    # The rows come from the caller's code, whose exceptions may quote a prompt: record only their type.
    quiet = {"record_exception": False, "set_status_on_exception": False}
    with made.start_as_current_span(f"enqueue {what}", kind=SpanKind.PRODUCER, attributes=facts, **quiet) as span:
        try:
            yield
        except Exception as exc:
            span.set_attribute("error.type", type(exc).__name__)
            span.set_status(StatusCode.ERROR)
            raise


def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - an extra

    return TraceContextTextMapPropagator()
