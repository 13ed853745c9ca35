"""Which settings files are trusted: those that only this user or root can have written.

Whoever writes `windfall.toml` decides where prompts and keys go. So a file is rejected if another user owns it, can
change it, or could replace it because a folder on its path is writable and has no sticky bit.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Final

from windfall.errors import ConfigError

#: Bytes of a file with settings or keys; nobody writes a larger one by hand.
LARGEST: Final = 1 << 20

#: The variable that names a file to trust even if others can write to it.
TRUSTED: Final = "WINDFALL_TRUSTED_CONFIG"


def read_believed(path: Path, *, trusted: Path | None = None) -> str:
    """The text of a trusted file. Raises `ConfigError`, and `OSError` if it cannot be read.

    The file `trusted` is accepted whoever owns it. The file is opened once, so what is checked is what is read.
    """
    # Opening a planted pipe would block forever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{path} is not a regular file")
        if trusted is None or path.resolve() != trusted.expanduser().resolve():
            _require_ours(path, found)
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ConfigError(f"{path} is larger than {LARGEST >> 20} MiB: it cannot be a settings file")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8 text") from exc


def _require_ours(path: Path, found: os.stat_result) -> None:
    if path.is_symlink():
        _require(path, path.lstat(), "it is a link that", mend="")
        _require_folders(path, path.absolute().parent)
    _require(path, found, "it", mend=f"chmod go-w {shlex.quote(str(path))}")
    _require_folders(path, path.resolve().parent)


def _require_folders(path: Path, nearest: Path) -> None:
    for folder in (nearest, *nearest.parents):
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            continue  # such as a Kubernetes volume, whose mode says that everyone may write
        found = folder.stat()
        if not found.st_mode & stat.S_ISVTX:
            _require(path, found, f"its folder {folder}", mend=f"chmod go-w {shlex.quote(str(folder))}")
        elif found.st_uid not in _believed():
            raise _refusal(path, f"its folder {folder} belongs to user {_name(found.st_uid)}", "")


def _require(path: Path, found: os.stat_result, what: str, *, mend: str) -> None:
    if found.st_uid not in _believed():
        raise _refusal(path, f"{what} belongs to user {_name(found.st_uid)}", "")
    if stat.S_ISLNK(found.st_mode):
        return  # the mode of a link has no meaning
    others = found.st_mode & stat.S_IWOTH
    group = found.st_mode & stat.S_IWGRP and not _is_private(found.st_gid)
    if others or group:
        raise _refusal(path, f"{what} is writable by {'others' if others else 'its group'}", mend)


def _refusal(path: Path, why: str, mend: str) -> ConfigError:
    ways = [f"run: {mend}"] if mend else []
    ways.append(f"set {TRUSTED}={shlex.quote(str(path.absolute()))} if you trust what it says")
    return ConfigError(f"{path} was not read, because {why}; {', or '.join(ways)}")


def _believed() -> frozenset[int]:
    return frozenset({0, os.geteuid()})


def _is_private(gid: int) -> bool:
    """Whether this user is the group's only member: many Linuxes create one per user (and use umask 002)."""
    import grp  # noqa: PLC0415 - it reads a database, which most calls do not need
    import pwd  # noqa: PLC0415 - the same

    if gid == 0:
        return True
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _name(uid: int) -> str:
    import pwd  # noqa: PLC0415 - it reads a database, which most calls do not need

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
