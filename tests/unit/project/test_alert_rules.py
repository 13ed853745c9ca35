"""The alert rules are what Prometheus reads, and what the documentation lists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).parents[3] / "docs"


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((DOCS / "alerts" / "windfall.yml").read_text())["groups"]  # type: ignore[no-untyped-call]
    assert set(group) == {"name", "rules"}
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_each_rule_has_what_prometheus_wants() -> None:
    for rule in rules():
        assert set(rule) == {"alert", "expr", "for", "annotations"}
        assert re.fullmatch(r"[A-Za-z_]\w*", rule["alert"])
        assert re.fullmatch(r"\d+[smhd]", rule["for"])
        assert rule["expr"].count("(") == rule["expr"].count(")")
    assert len({rule["alert"] for rule in rules()}) == len(rules())


def test_the_documented_expressions_are_those_of_the_rules() -> None:
    page = (DOCS / "operations.md").read_text()
    table = page[page.index("### What to alert on") : page.index("## Logs")].replace("\\|", "|")
    for rule in rules():
        assert f"`{rule['expr']}` | {rule['for']} |" in table
    assert table.count("\n| ") == len(rules()) + 1
