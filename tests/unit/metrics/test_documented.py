"""The dashboard, the alerts and the documentation speak of metrics that there are, and of all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from helpers.fake_worker import FakeWorker
from windfall_worker.metrics.counted import Counted
from windfall_worker.metrics.observed import Observed

DOCS = Path(__file__).parents[3] / "docs"
HISTOGRAMS = {"windfall_job_wait_seconds", "windfall_attempt_seconds", "windfall_claim_seconds"}
SCRAPED = {"le", "instance", "job"}  # labels that Prometheus and its histograms add


def metrics() -> dict[str, set[str]]:
    """Each metric by the name that a person knows (a counter's ends in _total), with its labels."""
    counted = [(each._name, each._type, each._labelnames) for each in vars(Counted(CollectorRegistry())).values()]
    observed = [(each.name, each.type, vars(each)["_labelnames"]) for each in Observed(FakeWorker(), (), {}).describe()]
    return {name + ("_total" if kind == "counter" else ""): set(labels) for name, kind, labels in counted + observed}


def sample_names() -> dict[str, str]:
    """What may stand in an expression, and the metric that it is of."""
    suffixes = ("", "_bucket", "_count", "_sum")
    return {name + suffix: name for name in metrics() for suffix in (suffixes if name in HISTOGRAMS else suffixes[:1])}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / "grafana" / "windfall.json").read_text())
    return found


def section() -> str:
    text = (DOCS / "operations.md").read_text()
    return text.split("\n## Metrics\n")[1].split("\n## ")[0]


def alerts() -> list[str]:
    table = section().split("### What to alert on")[1]
    return [
        line.split("`")[1].replace("\\|", "|") for line in table.splitlines() if line.startswith("| ") and "`" in line
    ]


def panels() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))


def expressions() -> Iterator[str]:
    yield from panels()
    yield from (variable["definition"] for variable in dashboard()["templating"]["list"])
    yield from alerts()


@pytest.mark.parametrize("expression", list(expressions()))
def test_an_expression_names_metrics_and_labels_that_there_are(expression: str) -> None:
    known = sample_names()
    used = re.findall(r"\b(windfall_\w+)(?:\{([^}]*)\})?", expression)
    assert used
    for name, selector in used:
        assert name in known
        for label in re.findall(r"(\w+)\s*[=!]~?", selector):
            assert label in metrics()[known[name]] | SCRAPED, f"{name} has no label {label}"
    everywhere = set.union(*(metrics()[known[name]] for name, _ in used)) | SCRAPED
    for grouped in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression):
        assert {label.strip() for label in grouped.split(",") if label.strip()} <= everywhere


def test_every_metric_is_documented_with_its_labels_and_no_other_is() -> None:
    table = section().split("### How to read each metric")[1].split("### What to alert on")[0]
    documented: dict[str, set[str]] = {}
    for line in table.splitlines():
        if line.startswith("| `"):
            names, labels, _ = line.strip("| ").split("|", 2) if line.count("|") == 4 else ("", "", "")
            documented |= {name: set(re.findall(r"`(\w+)`", labels)) for name in re.findall(r"`(\w+)`", names)}
    assert documented == metrics()


def test_every_metric_is_on_the_dashboard() -> None:
    known = sample_names()
    shown = {known[name] for each in panels() for name in re.findall(r"windfall_\w+", each)}
    assert shown == set(metrics())


def test_the_dashboard_asks_which_prometheus_and_each_panel_uses_it() -> None:
    found = dashboard()
    assert [each["name"] for each in found["__inputs"]] == ["DS_PROMETHEUS"]
    charts = [panel for panel in found["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in charts} == {"${DS_PROMETHEUS}"}
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])
    required = {each["id"] for each in found["__requires"] if each["type"] == "panel"}
    assert required == {panel["type"] for panel in charts}


def test_ten_alerts_are_read() -> None:
    assert len(alerts()) >= 10
