"""Exporting this process' spans, configured by OpenTelemetry's standard OTEL_ variables."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any, Final, cast

from windfall.config.settings import otlp_protocol, traces_exporters
from windfall.errors import ConfigError
from windfall.runtime.extras import how_to_install

logger = logging.getLogger("windfall.traces")

_MISSING: Final = f"traces need the otel extra: {how_to_install('otel')}, or unset the OTEL_ variables"
_PROTOCOL: Final = "http/protobuf"
#: Seconds that the last spans get at the end of a command; an unreachable collector must not hold it up.
_LAST_SPANS: Final = 3.0


@contextmanager
def exporting(service: str) -> Iterator[None]:
    """Export spans if the variables name an endpoint or an exporter; else do nothing.

    `service` is this process' service name unless OTEL_SERVICE_NAME is set. Raises `ConfigError`.
    """
    names = traces_exporters()
    if not names:
        yield
        return
    # A command has no log: it prints the sentence below instead of every attempt to connect.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    exporters = [_Watched(_exporter(name)) for name in names]
    provider = _provider(service, exporters)
    try:
        yield
    finally:
        last = threading.Thread(target=provider.shutdown, daemon=True)
        last.start()
        last.join(_LAST_SPANS)
        if last.is_alive() or any(exporter.refused for exporter in exporters):
            logger.warning("the last spans were not accepted: is the collector running?")


class _Watched:
    """An exporter, and whether its last spans were rejected: the SDK may give up silently."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter
        self.refused = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exporter, name)

    def export(self, spans: Any) -> Any:
        """Export spans."""
        self.refused = True  # also if the call below raises
        result = self._exporter.export(spans)
        self.refused = result.name != "SUCCESS"
        return result


def _provider(service: str, exporters: Sequence[_Watched]) -> Any:
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        raise ConfigError(_MISSING) from exc
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: service}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(cast(SpanExporter, exporter)))
    trace.set_tracer_provider(provider)
    return provider


def _exporter(name: str) -> Any:
    """The exporter with this OTEL_TRACES_EXPORTER name; `otlp` is OTLP over HTTP, the specification's default."""
    if name == "otlp" and (protocol := otlp_protocol()) != _PROTOCOL:
        raise ConfigError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}, but windfall only supports {_PROTOCOL}: unset it, and use "
            "the port for OTLP over HTTP, usually 4318"
        )
    wanted = "otlp_proto_http" if name == "otlp" else name
    found = list(entry_points(group="opentelemetry_traces_exporter", name=wanted))
    if not found and name == "otlp":
        raise ConfigError(_MISSING)
    if not found:
        raise ConfigError(f"OTEL_TRACES_EXPORTER names {name!r}, which is not installed; use otlp or console")
    try:
        return found[0].load()()
    except ModuleNotFoundError as exc:
        raise ConfigError(_MISSING) from exc
    except ValueError as exc:
        raise ConfigError(f"the OTEL_ variables are invalid: {exc}") from exc
