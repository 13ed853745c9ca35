"""The distribution's name, and how to install its extras."""

from __future__ import annotations

from typing import Final

#: The distribution's name on the package index, where `windfall` is another project. Import and command are `windfall`.
DISTRIBUTION: Final = "windfall-llm"


def how_to_install(extra: str) -> str:
    """The command that installs an extra, to end a sentence with."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'


NO_WORKER: Final = f"this needs the worker extra: {how_to_install('worker')}"
