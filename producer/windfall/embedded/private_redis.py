"""A Redis that only this process can use: a Unix socket in a private folder, and one user with a password.

There is no port, because other users of the machine could connect to it. The password keeps out whatever reaches the
socket anyway (another program of the same user, a folder opened to others). The ACL grants no command that makes a
server write files or run code, such as `CONFIG`, `MODULE`, `DEBUG`, `REPLICAOF`, `MIGRATE` and `SAVE`. It lists
categories, because Redis 6.2 refuses to start when an ACL names a command of a later version.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from windfall.config.private import create_private, require_private_folder
from windfall.embedded.redis_process import running
from windfall.errors import ConfigError

#: Bytes of a socket's path: macOS allows 104 with the final zero, Linux 108.
_LONGEST: Final = 103
_SOCKET: Final = "redis.sock"
_CONFIG: Final = "redis.conf"
_USER: Final = "windfall"
_RIGHTS: Final = "+@read +@write +@connection +@transaction +@pubsub +@scripting -@dangerous -@admin +info +time"


@asynccontextmanager
async def private_redis(server: Path, folder: Path, *, durable: bool) -> AsyncIterator[str]:
    """Run this `redis-server` with its files in `folder`; yields its URL once it answers.

    Raises `ConfigError` if the folder is open to others, and `BrokerUnavailable`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_private_folder(folder)
    password = secrets.token_hex(32)
    with _socket_folder(folder) as sockets:
        socket = sockets / _SOCKET
        config = folder / _CONFIG
        config.unlink(missing_ok=True)
        create_private(config, _config(folder, socket, password, durable=durable))
        url = f"unix://{_USER}:{password}@{quote(str(socket))}"
        async with running(
            [str(server), str(config)], url, folder / "redis.log", None if sockets == folder else sockets
        ):
            yield url


def _config(folder: Path, socket: Path, password: str, *, durable: bool) -> str:
    """redis.conf: unlike a command line, it does not show in `ps`."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    lines = [
        "port 0",
        f"unixsocket {_quoted(socket)}",
        "unixsocketperm 600",
        f"dir {_quoted(folder)}",
        f"appendonly {'yes' if durable else 'no'}",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",
        "daemonize no",
        "user default off",
        f"user {_USER} on #{digest} ~* &* -@all {_RIGHTS}",
        "",
    ]
    return "\n".join(lines)


def _quoted(path: Path) -> str:
    """A quoted word of redis.conf; control characters and bytes that are not text are escaped."""
    inner = "".join(
        chr(byte) if 0x20 < byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02x}" for byte in os.fsencode(path)
    )
    return f'"{inner}"'


@contextmanager
def _socket_folder(folder: Path) -> Iterator[Path]:
    """The folder itself or, if its path is too long for a socket, a temporary one with a short path."""
    if len(os.fsencode(folder / _SOCKET)) <= _LONGEST:
        yield folder
        return
    try:
        short = Path(tempfile.mkdtemp(prefix="windfall-", dir="/tmp"))
    except OSError as exc:
        raise ConfigError(
            f"{folder} is too long for a socket, and /tmp cannot be used ({exc.strerror}): set TMPDIR to a shorter path"
        ) from exc
    try:
        yield short
    finally:
        shutil.rmtree(short, ignore_errors=True)
