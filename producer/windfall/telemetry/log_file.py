"""The log of a worker that has no terminal: a file that is begun anew before it is large."""

from __future__ import annotations

import logging
import os
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

from windfall.config.private import private_opener
from windfall.errors import ConfigError

_LARGEST: Final = 10_000_000  # bytes
_KEPT: Final = 4  # files besides the one that is written


class _PrivateHandler(RotatingFileHandler):
    """Each file that it begins is its user's alone: what endpoints and libraries say stands there."""

    def _open(self) -> TextIOWrapper:
        file: Any = open(  # noqa: SIM115 - Path.open knows no opener; logging closes it
            self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=private_opener
        )
        opened: TextIOWrapper = file
        return opened


def make_log_folder(folder: Path) -> None:
    """Make the folder, for its user alone, unless it is there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def log_file_handler(path: Path) -> logging.Handler:
    """Writes to this file; 10 MB a file, five of them. Raises `ConfigError`."""
    try:
        make_log_folder(path.parent)
        return _PrivateHandler(path, maxBytes=_LARGEST, backupCount=_KEPT, encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot write the log {path}: {exc.strerror}") from exc


def trim_stderr(path: Path) -> None:
    """Begin this file anew where it is behind stderr and large: launchd appends for ever, at each start that fails.

    Any other file behind stderr belongs to whoever put it there.
    """
    try:
        found = os.fstat(2)
        if os.path.samestat(found, path.stat()) and found.st_size > _LARGEST:
            os.ftruncate(2, 0)
    except OSError:
        pass  # stderr is closed, or there is no such file
