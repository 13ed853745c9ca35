"""Traces of OpenTelemetry: the span in which jobs are enqueued, and the context that their messages carry on.

Nobody traces unless this program has loaded OpenTelemetry (`trace_export` does, where that was asked for): then all of
this is a look into a dictionary. Spans go to the program's own tracer provider. None holds a prompt.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def tracer() -> Any | None:
    """What makes spans, or None where nobody traces."""
    trace = sys.modules.get("opentelemetry.trace")
    return None if trace is None else trace.get_tracer("windfall")


def carrier() -> dict[str, str] | None:
    """The current span as W3C's `traceparent`, for a message to carry; None where nobody traces."""
    if tracer() is None:
        return None
    found: dict[str, str] = {}
    _propagator().inject(found)
    return found or None


def context_of(carried: Mapping[str, str]) -> Any:
    """What a message carried, as the context in which a span is started. Only where somebody traces."""
    return _propagator().extract(carried)


@contextmanager
def enqueueing(what: str, **attributes: str) -> Iterator[None]:
    """A span around the enqueueing of jobs; what `carrier` says inside is for their messages."""
    made = tracer()
    if made is None:
        yield
        return
    from opentelemetry.trace import SpanKind, StatusCode  # noqa: PLC0415 - an extra

    facts = {"messaging.system": "windfall", "messaging.operation.type": "send", **attributes}
    # The rows come from the caller's own code, whose exceptions may quote a prompt: their kind alone is kept.
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
