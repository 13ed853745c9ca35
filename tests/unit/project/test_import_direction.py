"""Imports run one way: a folder imports from those below it, and from no other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = {"windfall": ROOT / "producer" / "windfall", "windfall_worker": ROOT / "worker" / "windfall_worker"}

#: From the bottom to the top. What stands in the same line may import from each other; `windfall` and
#: `windfall_worker` are the modules of these folders themselves that no other line names.
LAYERS = (
    ("windfall.runtime",),
    ("windfall",),
    ("windfall.scripts",),
    ("windfall.broker",),
    ("windfall.config",),
    ("windfall.telemetry",),
    ("windfall.embedded",),
    ("windfall.formats",),
    ("windfall.queue",),
    ("windfall.producer", "windfall.sync", "windfall.testing", "windfall.kept_results", "windfall.frames"),
    ("windfall.service",),
    ("windfall_worker",),
    ("windfall_worker.guards",),
    ("windfall_worker.citizen",),
    ("windfall_worker.settings",),
    ("windfall_worker.demo",),
    ("windfall_worker.engine",),
    ("windfall_worker.cloud",),
    ("windfall_worker.backends",),
    ("windfall_worker.jobs",),
    ("windfall_worker.queue",),
    ("windfall_worker.metrics",),
    ("windfall_worker.fleet_worker",),
    ("windfall_worker.main",),
    ("windfall.checks",),
    ("windfall.cli.screen",),
    ("windfall.cli", "windfall.notebook", "windfall.__init__", "windfall.__main__"),
)
HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names}


def modules() -> dict[str, Path]:
    """Every module by its dotted name; a package's own is its name with `.__init__` at the end."""
    return {
        ".".join((package, *path.relative_to(folder).with_suffix("").parts)): path
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*.py")
    }


MODULES = modules()


def layer(module: str) -> str:
    """The layer of a module: the longest of its prefixes that LAYERS names."""
    prefix = module
    while prefix not in HEIGHT:
        prefix = prefix.rpartition(".")[0]
    return prefix


def named(target: str) -> str | None:
    """The module that an imported name is, or is in."""
    for name in (target, f"{target}.__init__"):
        if name in MODULES:
            return name
    return None


def imports(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            targets = [inner if named(inner := f"{node.module}.{alias.name}") else node.module for alias in node.names]
        else:
            continue
        yield from (found for target in targets if (found := named(target)))


@pytest.mark.parametrize("name", HEIGHT)
def test_a_layer_imports_from_itself_and_those_below(name: str) -> None:
    of_it = [module for module in MODULES if layer(module) == name]
    above = [(module, to) for module in of_it for to in imports(MODULES[module]) if HEIGHT[layer(to)] > HEIGHT[name]]
    assert of_it
    assert above == []


@pytest.mark.parametrize("module", [name for name in sorted(MODULES) if name.startswith("windfall_worker.jobs.")])
def test_one_job_is_run_without_what_a_producer_does(module: str) -> None:
    assert [found for found in imports(MODULES[module]) if layer(found) == "windfall.queue"] == []


def test_every_folder_says_in_one_line_what_lives_there() -> None:
    for folder in sorted({path.parent for path in MODULES.values()}):
        said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
        assert said, folder
        assert said.splitlines()[0].endswith("."), folder
