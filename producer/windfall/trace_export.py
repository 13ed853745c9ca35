"""Exporting this process' spans, as the standard OTEL_ variables of OpenTelemetry say."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any, Final

from windfall.errors import ConfigError
from windfall.settings import traces_exporters

logger = logging.getLogger("windfall.traces")

_MISSING: Final = 'traces need the otel extra: pip install "windfall[otel]", or unset the OTEL_ variables'
#: Seconds that the last spans get at the end of a command; a collector that is away must not hold it up.
_LAST_SPANS: Final = 3.0


@contextmanager
def exporting(service: str) -> Iterator[None]:
    """Export spans where the variables name an endpoint or an exporter; else do nothing.

    `service` is what this process is called unless OTEL_SERVICE_NAME says otherwise. Raises `ConfigError`.
    """
    names = traces_exporters()
    if not names:
        yield
        return
    # Who has no log of its own, as a command, says the sentence below and not each attempt to connect.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    provider = _provider(service, names)
    try:
        yield
    finally:
        last = threading.Thread(target=provider.shutdown, daemon=True)
        last.start()
        last.join(_LAST_SPANS)
        if last.is_alive():
            logger.warning("the last spans were not taken within %g s: is the collector up?", _LAST_SPANS)


def _provider(service: str, names: tuple[str, ...]) -> Any:
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        raise ConfigError(_MISSING) from exc
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: service}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for name in names:
        provider.add_span_processor(BatchSpanProcessor(_exporter(name)))
    trace.set_tracer_provider(provider)
    return provider


def _exporter(name: str) -> Any:
    """The exporter that OTEL_TRACES_EXPORTER calls so; `otlp` is OTLP over HTTP, the default of the specification."""
    wanted = "otlp_proto_http" if name == "otlp" else name
    found = list(entry_points(group="opentelemetry_traces_exporter", name=wanted))
    if not found and name == "otlp":
        raise ConfigError(_MISSING)
    if not found:
        raise ConfigError(f"OTEL_TRACES_EXPORTER names {name!r}, which is not installed; there are otlp and console")
    try:
        return found[0].load()()
    except ValueError as exc:
        raise ConfigError(f"the OTEL_ variables cannot be right: {exc}") from exc
