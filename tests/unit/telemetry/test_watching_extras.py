"""What is looked at to see whether a program is to be watched, and what is said where a package for it is missing."""

from __future__ import annotations

import sys

import pytest

from windfall.config.settings import traces_exporters
from windfall.errors import ConfigError
from windfall.telemetry.trace_export import exporting
from windfall_worker.metrics.endpoint import open_endpoint
from windfall_worker.recorder import SILENT


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    otlp = (f"EXPORTER_OTLP_{name}" for name in ("ENDPOINT", "TRACES_ENDPOINT", "PROTOCOL", "TRACES_PROTOCOL"))
    for name in ("TRACES_EXPORTER", *otlp, "SDK_DISABLED"):
        monkeypatch.delenv(f"OTEL_{name}", raising=False)


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({}, ()),
        ({"EXPORTER_OTLP_ENDPOINT": "http://c"}, ("otlp",)),
        ({"EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/v1/traces"}, ("otlp",)),
        ({"TRACES_EXPORTER": "otlp, console"}, ("otlp", "console")),
        ({"TRACES_EXPORTER": "none", "EXPORTER_OTLP_ENDPOINT": "http://c"}, ()),
        ({"TRACES_EXPORTER": "otlp", "SDK_DISABLED": "TRUE"}, ()),
        ({"TRACES_EXPORTER": "", "EXPORTER_OTLP_ENDPOINT": ""}, ()),
    ],
)
def test_traces_are_on_where_an_endpoint_or_an_exporter_is_set(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], names: tuple[str, ...]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"OTEL_{name}", value)
    assert traces_exporters() == names


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_a_protocol_that_is_not_spoken_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")
    monkeypatch.setenv(variable, "grpc")
    with (
        pytest.raises(ConfigError, match="PROTOCOL is 'grpc', but windfall only supports http/protobuf"),
        exporting("x"),
    ):
        pass


def test_where_opentelemetry_is_missing_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"pip install \"windfall-llm\[otel\]\""), exporting("x"):
        pass


async def test_where_prometheus_client_is_missing_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with open_endpoint("127.0.0.1", 0) as nobody:
        assert nobody.recorder is SILENT
    with pytest.raises(ConfigError, match=r"pip install \"windfall-llm\[metrics\]\""):
        async with open_endpoint("127.0.0.1", 9464):
            pass


async def test_an_address_of_another_machine_is_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 port 9464 .*--metrics-host"):
        async with open_endpoint("192.0.2.1", 9464):
            pass
