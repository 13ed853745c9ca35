"""The stub of the blocking Producer is made from the async one, and is current."""

from __future__ import annotations

import runpy
from pathlib import Path

from windfall.sync import Producer, mirrored

ROOT = Path(__file__).parents[3]


def test_the_stub_is_what_its_script_writes() -> None:
    script = runpy.run_path(str(ROOT / "tests" / "typing" / "sync_stub.py"))
    assert (ROOT / "producer" / "windfall" / "sync.pyi").read_text() == script["stub"](), (
        "run: python tests/typing/sync_stub.py"
    )


def test_every_method_has_its_counterpart() -> None:
    assert {name for name in mirrored() if not callable(getattr(Producer, name, None))} == set()
    assert {"enqueue", "wait", "results", "enqueue_batch"} <= mirrored().keys()
