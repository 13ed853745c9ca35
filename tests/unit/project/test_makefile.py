"""What `make` does beside installing: a stand-in for Python takes the place of pip."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]


def make(*words: str) -> str:
    return subprocess.run(["make", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout


def test_no_redis_of_a_wheel_is_left_beside_the_command(tmp_path: Path) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (tmp_path / ".made").touch()
    (bin_folder / "python").write_text('#!/bin/sh\ncd "$(dirname "$0")" && touch redis-server redis-cli windfall\n')
    (bin_folder / "python").chmod(0o755)
    for target in (".ready", ".ready-dev"):
        make(f"VENV={tmp_path}", f"{tmp_path}/{target}")
        assert sorted(path.name for path in bin_folder.iterdir()) == ["python", "windfall"]


def test_how_long_the_first_demo_takes_is_said_where_one_looks_first() -> None:
    assert "one to three minutes" in make("help")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "one to three minutes" in readme
    assert ".venv/bin:$PATH" not in readme
