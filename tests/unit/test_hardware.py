"""What a machine says of its chip."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from windfall_worker import hardware


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    hardware.chip.cache_clear()
    yield
    hardware.chip.cache_clear()


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("Apple M4 Pro\n", "Apple M4 Pro"),
        ("Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz\n", "Intel Core i7-9750H"),
        ("", "arm64"),
    ],
)
def test_a_mac_is_asked_by_sysctl(monkeypatch: pytest.MonkeyPatch, told: str, said: str) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, stdout=told)

    monkeypatch.setattr("windfall_worker.hardware.sys.platform", "darwin")
    monkeypatch.setattr("windfall_worker.hardware.platform.machine", lambda: "arm64")
    monkeypatch.setattr("windfall_worker.hardware.subprocess.run", run)
    assert hardware.chip() == said


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 7763 64-Core Processor\nmodel name\t: x\n", "AMD EPYC 7763"),
        ("processor\t: 0\nBogoMIPS\t: 50.00\n", "aarch64"),
    ],
)
def test_linux_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: str, said: str) -> None:
    monkeypatch.setattr("windfall_worker.hardware.sys.platform", "linux")
    monkeypatch.setattr("windfall_worker.hardware.platform.machine", lambda: "aarch64")
    monkeypatch.setattr(hardware, "_PROCESSORS", tmp_path / "cpuinfo")
    assert hardware.chip() == "aarch64"
    hardware.chip.cache_clear()
    (tmp_path / "cpuinfo").write_text(told)
    assert hardware.chip() == said


def test_this_machine_has_memory() -> None:
    assert hardware.memory_bytes() > 1 << 28
