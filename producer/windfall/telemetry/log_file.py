"""The log file of a worker without a terminal, which is rotated before it grows large."""

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
_KEPT: Final = 4  # old files


class _PrivateHandler(RotatingFileHandler):
    """Makes every new file private: it holds messages of endpoints and libraries."""

    def _open(self) -> TextIOWrapper:
        file: Any = open(  # noqa: SIM115 - Path.open has no opener; logging closes it
            self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=private_opener
        )
        opened: TextIOWrapper = file
        return opened


def make_log_folder(folder: Path) -> None:
    """Create the folder, private to its owner, unless it exists."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def log_file_handler(path: Path) -> logging.Handler:
    """A handler for this file: five files of at most 10 MB each. Raises `ConfigError`."""
    try:
        make_log_folder(path.parent)
        return _PrivateHandler(path, maxBytes=_LARGEST, backupCount=_KEPT, encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot write the log {path}: {exc.strerror}") from exc


def trim_stderr(path: Path) -> None:
    """Truncate this file if stderr goes to it and it is large: launchd appends forever, at each failed start.

    Any other file that stderr goes to belongs to the person who redirected it.
    """
    try:
        found = os.fstat(2)
        if os.path.samestat(found, path.stat()) and found.st_size > _LARGEST:
            os.ftruncate(2, 0)
    except OSError:
        pass  # stderr is closed, or there is no such file
