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
    for each in (hardware.chip, hardware.memory_bytes):
        each.cache_clear()
    yield
    for each in (hardware.chip, hardware.memory_bytes):
        each.cache_clear()


@pytest.mark.parametrize(
    ("told", "size", "said", "memory"),
    [
        ("Apple M4 Pro\n", "51539607552\n", "Apple M4 Pro", 48 << 30),
        ("Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz\n", "17179869184\n", "Intel Core i7-9750H", 16 << 30),
        ("", "", "arm64", None),
    ],
)
def test_a_mac_is_asked_by_sysctl(
    monkeypatch: pytest.MonkeyPatch, told: str, size: str, said: str, memory: int | None
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")

    def run(command: list[str], *, env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert "PATH" in env
        assert "OPENAI_API_KEY" not in env
        answers = {"machdep.cpu.brand_string": told, "hw.memsize": size}
        return subprocess.CompletedProcess(command, 0, stdout=answers[command[-1]])

    monkeypatch.setattr("windfall_worker.hardware.sys.platform", "darwin")
    monkeypatch.setattr("windfall_worker.hardware.platform.machine", lambda: "arm64")
    monkeypatch.setattr("windfall_worker.hardware.subprocess.run", run)
    assert hardware.chip() == said
    assert hardware.memory_bytes() == memory


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
    assert (hardware.memory_bytes() or 0) > 1 << 28
