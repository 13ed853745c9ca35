"""Files with secrets: only their user may read them."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Final

from windfall.errors import ConfigError

_OTHERS: Final = 0o077  # what group and others may do
MODE: Final = 0o600


def open_to_others(path: Path) -> bool:
    """Whether anybody but its user may read, write or run the file."""
    return bool(path.stat().st_mode & _OTHERS)


def require_private(path: Path, secret: str) -> None:
    """Raise `ConfigError`, with the command that mends it, where others may read the file that holds this secret."""
    if open_to_others(path):
        raise ConfigError(f"{path} holds {secret}, and others can read it; type: {how_to_close(path)}")


def how_to_close(path: Path) -> str:
    """The command that takes the file from others."""
    return f"chmod 600 {shlex.quote(str(path))}"


def create_private(path: Path, text: str) -> None:
    """Write a new file that only its user may read, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "w", encoding="utf-8") as file:
        file.write(text)
