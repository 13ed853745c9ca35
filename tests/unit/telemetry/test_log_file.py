"""The log of a worker without a terminal."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from windfall.errors import ConfigError
from windfall.telemetry import log_file


def test_a_full_log_is_begun_anew_and_five_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "_LARGEST", 1000)
    handler = log_file.log_file_handler(tmp_path / "logs" / "worker.log")
    for n in range(200):
        handler.handle(logging.LogRecord("x", logging.WARNING, "", 0, "line %d of some length", (n,), None))
    handler.close()
    found = sorted((tmp_path / "logs").iterdir())
    assert [path.name for path in found] == ["worker.log", *(f"worker.log.{n}" for n in range(1, 5))]
    assert all(path.stat().st_size <= 1000 for path in found)
    assert "line 199" in found[0].read_text()


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("worker.stderr.log", 1001, 0), ("worker.stderr.log", 1000, 1000), ("all.log", 1001, 1001)],
)
def test_the_large_file_that_launchd_has_behind_stderr_is_begun_anew_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, before: int, after: int
) -> None:
    monkeypatch.setattr(log_file, "_LARGEST", 1000)
    path = tmp_path / name
    path.write_bytes(b"x" * before)
    ours = os.dup(2)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 2)
        log_file.trim_stderr(tmp_path / "worker.stderr.log")
    finally:
        os.dup2(ours, 2)
        os.close(ours)
    assert path.stat().st_size == after


def test_a_log_that_cannot_be_written_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot write the log .*worker\.log: "):
        log_file.log_file_handler(tmp_path / "file" / "worker.log")
