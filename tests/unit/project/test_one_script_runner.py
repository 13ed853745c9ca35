"""Scripts of Redis are run in one place, which knows what to do when Redis has forgotten them."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]
RUNNER = ROOT / "producer" / "windfall" / "scripts"
RUNS_A_SCRIPT = {"evalsha", "evalsha_ro", "register_script", "script_load"}


def test_nothing_but_the_runner_runs_a_script() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.attr}"
        for folder in ("producer", "worker")
        for path in (ROOT / folder).rglob("*.py")
        if RUNNER not in path.parents
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in RUNS_A_SCRIPT
    ]
    assert found == []
