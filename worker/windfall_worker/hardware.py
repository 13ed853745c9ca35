"""What this machine is: the name of its chip, and how much memory it has."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

_PROCESSORS = Path("/proc/cpuinfo")
#: What makers put into a chip's name and nobody says.
_DECORATION = re.compile(r"\((?:R|TM|r|tm)\)|\bCPU\b|\bProcessor\b|@.*$|\b\d+-Core\b")


@cache
def chip() -> str:
    """Such as `Apple M4 Pro`; the architecture where nothing tells."""
    told = _sysctl("machdep.cpu.brand_string") if sys.platform == "darwin" else _of_linux()
    return " ".join(_DECORATION.sub(" ", told or platform.machine()).split())


@cache
def memory_bytes() -> int | None:
    """All of it, whoever uses it; None where nothing tells."""
    if sys.platform == "darwin":
        told = _sysctl("hw.memsize").strip()
        return int(told) if told.isdecimal() else None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _sysctl(name: str) -> str:
    asking = ["/usr/sbin/sysctl", "-n", name]
    try:
        return subprocess.run(asking, capture_output=True, text=True, timeout=5, check=True).stdout  # noqa: S603 - fixed
    except (OSError, subprocess.SubprocessError):
        return ""


def _of_linux() -> str:
    """ARM machines have no such line."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", _PROCESSORS.read_text(), re.MULTILINE)
    except OSError:
        return ""
    return found[1] if found else ""
