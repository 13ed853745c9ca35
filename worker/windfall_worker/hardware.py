"""This machine's hardware: the name of its chip, and how much memory it has."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

from windfall.config.child_environment import system_environment

_PROCESSORS: Final = Path("/proc/cpuinfo")
#: What vendors add to a chip's name and people leave out.
_DECORATION: Final = re.compile(r"\((?:R|TM|r|tm)\)|\bCPU\b|\bProcessor\b|@.*$|\b\d+-Core\b")


@cache
def chip() -> str:
    """The chip's name, such as `Apple M4 Pro`; the architecture where it is unknown."""
    name = _sysctl("machdep.cpu.brand_string") if sys.platform == "darwin" else _linux_chip()
    return " ".join(_DECORATION.sub(" ", name or platform.machine()).split())


@cache
def memory_bytes() -> int | None:
    """All memory of the machine, in use or not; None where it is unknown."""
    if sys.platform == "darwin":
        size = _sysctl("hw.memsize").strip()
        return int(size) if size.isdecimal() else None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _sysctl(name: str) -> str:
    command = ["/usr/sbin/sysctl", "-n", name]
    try:
        done = subprocess.run(  # noqa: S603 - fixed
            command, env=system_environment(), capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _linux_chip() -> str:
    """The processor's name; empty on ARM, where the kernel does not print one."""
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", _PROCESSORS.read_text(), re.MULTILINE)
    except OSError:
        return ""
    return match[1] if match else ""
