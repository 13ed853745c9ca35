"""The temporary folder of a run: it holds prompts, so it must not outlive the run, not even one that was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PREFIX: Final = "windfall-run-"
_LOCK: Final = "lock"


@contextmanager
def run_folder() -> Iterator[Path]:
    """A folder of this run alone; those that killed runs left behind are removed first."""
    _remove_left_behind()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        with (folder / _LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_behind() -> None:
    """The lock of a run ends with its process, however that ends. Others may plant anything under these names."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            if not _is_ours(folder.lstat(), stat.S_IFDIR):
                continue
            # Without O_NONBLOCK the opening of a pipe waits for its writer.
            held = os.open(folder / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _is_ours(os.fstat(held), stat.S_IFREG):
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
        except OSError:
            continue  # held by a run that goes on, or gone meanwhile


def _is_ours(found: os.stat_result, kind: int) -> bool:
    return stat.S_IFMT(found.st_mode) == kind and found.st_uid == os.geteuid()
