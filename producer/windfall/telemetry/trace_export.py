"""Exporting this process' spans, as the standard OTEL_ variables of OpenTelemetry say."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any, Final, cast

from windfall.config.settings import otlp_protocol, traces_exporters
from windfall.errors import ConfigError
from windfall.extras import how_to_install

logger = logging.getLogger("windfall.traces")

_MISSING: Final = f"traces need the otel extra: {how_to_install('otel')}, or unset the OTEL_ variables"
_PROTOCOL: Final = "http/protobuf"
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
    exporters = [_Watched(_exporter(name)) for name in names]
    provider = _provider(service, exporters)
    try:
        yield
    finally:
        last = threading.Thread(target=provider.shutdown, daemon=True)
        last.start()
        last.join(_LAST_SPANS)
        if last.is_alive() or any(exporter.refused for exporter in exporters):
            logger.warning("the last spans were not taken: is the collector up?")


class _Watched:
    """An exporter, and whether its last spans were refused: the SDK may give up without a word."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter
        self.refused = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exporter, name)

    def export(self, spans: Any) -> Any:
        """Hand spans on."""
        self.refused = True  # also where it raises
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
    """The exporter that OTEL_TRACES_EXPORTER calls so; `otlp` is OTLP over HTTP, the default of the specification."""
    if name == "otlp" and (protocol := otlp_protocol()) != _PROTOCOL:
        raise ConfigError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}, and windfall speaks {_PROTOCOL} alone: unset it, and name "
            "the port that takes OTLP over HTTP, mostly 4318"
        )
    wanted = "otlp_proto_http" if name == "otlp" else name
    found = list(entry_points(group="opentelemetry_traces_exporter", name=wanted))
    if not found and name == "otlp":
        raise ConfigError(_MISSING)
    if not found:
        raise ConfigError(f"OTEL_TRACES_EXPORTER names {name!r}, which is not installed; there are otlp and console")
    try:
        return found[0].load()()
    except ModuleNotFoundError as exc:
        raise ConfigError(_MISSING) from exc
    except ValueError as exc:
        raise ConfigError(f"the OTEL_ variables cannot be right: {exc}") from exc
