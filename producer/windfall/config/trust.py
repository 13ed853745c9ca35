"""Whose settings files are believed: those that nobody but this user, and root, can have written.

Whoever writes `windfall.toml` decides where prompts and keys go. So a file is refused where another user owns it or can
change it, or could put another in its place: somebody may write to a folder on its path that has no sticky bit.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Final

from windfall.errors import ConfigError

#: Bytes of a file with settings or keys; a larger one was not written by a person.
LARGEST: Final = 1 << 20

#: The variable that names a file which is to be believed whoever can write it.
TRUSTED: Final = "WINDFALL_TRUSTED_CONFIG"


def read_believed(path: Path, *, trusted: Path | None = None) -> str:
    """The text of a file that is believed. Raises `ConfigError`, and `OSError` where it cannot be read.

    `trusted` is believed whatever its owner. What is looked at is what is read: the file is opened once.
    """
    # A pipe that somebody planted would block the opening of it for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{path} is not a regular file")
        if trusted is None or path.resolve() != trusted.expanduser().resolve():
            _require_ours(path, found)
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ConfigError(f"{path} is larger than {LARGEST >> 20} MiB: it holds no settings")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not text in UTF-8") from exc


def _require_ours(path: Path, found: os.stat_result) -> None:
    if path.is_symlink():
        _require(path, path.lstat(), "it is a link that", mend="")
        _require_folders(path, path.absolute().parent)
    _require(path, found, "it", mend=f"chmod go-w {shlex.quote(str(path))}")
    _require_folders(path, path.resolve().parent)


def _require_folders(path: Path, nearest: Path) -> None:
    for folder in (nearest, *nearest.parents):
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            continue  # such as a volume of Kubernetes, whose mode says that everybody may write
        found = folder.stat()
        if not found.st_mode & stat.S_ISVTX:
            _require(path, found, f"its folder {folder}", mend=f"chmod go-w {shlex.quote(str(folder))}")
        elif found.st_uid not in _believed():
            raise _refusal(path, f"its folder {folder} belongs to user {_name(found.st_uid)}", "")


def _require(path: Path, found: os.stat_result, what: str, *, mend: str) -> None:
    if found.st_uid not in _believed():
        raise _refusal(path, f"{what} belongs to user {_name(found.st_uid)}", "")
    if stat.S_ISLNK(found.st_mode):
        return  # the mode of a link means nothing
    others = found.st_mode & stat.S_IWOTH
    group = found.st_mode & stat.S_IWGRP and not _is_private(found.st_gid)
    if others or group:
        raise _refusal(path, f"{what} can be written by {'others' if others else 'its group'}", mend)


def _refusal(path: Path, why: str, mend: str) -> ConfigError:
    ways = [f"type: {mend}"] if mend else []
    ways.append(f"set {TRUSTED}={shlex.quote(str(path.absolute()))} if you trust what it says")
    return ConfigError(f"{path} is not read, because {why}; {', or '.join(ways)}")


def _believed() -> frozenset[int]:
    return frozenset({0, os.geteuid()})


def _is_private(gid: int) -> bool:
    """Whether the group is this user's alone, as many Linuxes make one for each user (and a umask of 002)."""
    import grp  # noqa: PLC0415 - it reads a database, which most calls do without
    import pwd  # noqa: PLC0415 - the same

    if gid == 0:
        return True
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _name(uid: int) -> str:
    import pwd  # noqa: PLC0415 - it reads a database, which most calls do without

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
