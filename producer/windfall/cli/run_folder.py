"""The temporary folder of a run: it holds prompts, so it must not outlive the run, even if the run is killed."""

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
    """A private folder for this run; folders left behind by killed runs are removed first."""
    _remove_left_behind()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        with (folder / _LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_behind() -> None:
    """A run's lock ends with its process, however that ends. Other users may plant anything under these names."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            if not _is_ours(folder.lstat(), stat.S_IFDIR):
                continue
            # Without O_NONBLOCK, opening a pipe waits for its writer.
            held = os.open(folder / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _is_ours(os.fstat(held), stat.S_IFREG):
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
        except OSError:
            continue  # locked by a live run, or already removed


def _is_ours(found: os.stat_result, kind: int) -> bool:
    return stat.S_IFMT(found.st_mode) == kind and found.st_uid == os.geteuid()
