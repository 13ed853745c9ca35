"""Files with secrets, which only their owner may read."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from windfall.errors import ConfigError

_OTHERS: Final = 0o077  # the permissions of group and others
MODE: Final = 0o600


def open_to_others(path: Path) -> bool:
    """Whether anyone but its owner may read, write or execute the file."""
    return bool(path.stat().st_mode & _OTHERS)


def require_private(path: Path, secret: str) -> None:
    """Raise `ConfigError`, with the command that fixes it, if others may read the file that holds this secret."""
    if open_to_others(path):
        raise ConfigError(f"{path} holds {secret}, and others can read it; run: {how_to_close(path)}")


def how_to_close(path: Path) -> str:
    """The command that makes the file private."""
    return f"chmod 600 {shlex.quote(str(path))}"


def create_private(path: Path, text: str) -> None:
    """Write a new file that only its owner may ever read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "w", encoding="utf-8") as file:
        file.write(text)


def require_private_folder(folder: Path) -> None:
    """Raise `ConfigError` unless this folder belongs to this user and nobody else may access it."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
        raise ConfigError(
            f"{folder} must be a folder that only you can access; run: chmod 700 {shlex.quote(str(folder))}"
        )


def private_opener(path: str, flags: int) -> int:
    """For `open(…, opener=…)`: a new file is private; an existing one keeps its mode."""
    return os.open(path, flags, MODE)


def open_private(path: Path, mode: str) -> IO[bytes]:
    """Open a binary file; a new one is only ever readable by its owner."""
    file: IO[bytes] = open(path, mode, opener=private_opener)  # noqa: SIM115 - Path.open has no opener
    return file


def append_private(path: Path) -> IO[bytes]:
    """Open a binary file for appending, as `open_private` does, but refuse links and pipes.

    Raises `OSError`.
    """
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, MODE)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, f"{path} is not a regular file")
    return os.fdopen(fd, "ab")


def replacement(path: Path, like: os.stat_result) -> IO[bytes]:
    """Create an empty file to replace one whose status is `like`: with its mode and, if permitted, its owner.

    Anything already at the path is removed and never written to: another user may have left a link there.
    """
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE)
    if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
        with suppress(PermissionError):
            os.fchown(fd, like.st_uid, like.st_gid)
    os.fchmod(fd, stat.S_IMODE(like.st_mode))
    return os.fdopen(fd, "wb")
