"""Files with secrets: only their user may read them."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

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


def require_private_folder(folder: Path) -> None:
    """Raise `ConfigError` unless this is a folder of this user's that nobody else may look into."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
        raise ConfigError(f"{folder} must be a folder that is yours alone; type: chmod 700 {shlex.quote(str(folder))}")


def private_opener(path: str, flags: int) -> int:
    """For `open(…, opener=…)`: a file that it makes is its user's alone; one that is there keeps its mode."""
    return os.open(path, flags, MODE)


def open_private(path: Path, mode: str) -> IO[bytes]:
    """Open a file of bytes; where it is new, only its user may read it, from its first byte on."""
    file: IO[bytes] = open(path, mode, opener=private_opener)  # noqa: SIM115 - Path.open knows no opener
    return file


def append_private(path: Path) -> IO[bytes]:
    """Open a file of bytes to add to it, as `open_private` does, but neither through a link nor into a pipe.

    Raises `OSError`.
    """
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, MODE)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, f"{path} is not a regular file")
    return os.fdopen(fd, "ab")


def replacement(path: Path, like: os.stat_result) -> IO[bytes]:
    """A new empty file, to be put in the place of one that is `like` this: with its mode and, where one may, its owner.

    Whatever stood under the name is taken away and never written to: it may be a link that somebody else left there.
    """
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE)
    if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
        with suppress(PermissionError):
            os.fchown(fd, like.st_uid, like.st_gid)
    os.fchmod(fd, stat.S_IMODE(like.st_mode))
    return os.fdopen(fd, "wb")
