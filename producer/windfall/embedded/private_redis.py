"""A Redis that only this process can use: a Unix socket in a folder of its user's, and one user with a password.

No port: whoever else is on the machine could connect to it. The password keeps out what gets at the socket all the same
(another program of this user's, a folder that was opened to others), and the rights leave nothing by which a server
can be made to write files or to run code: `CONFIG`, `MODULE`, `DEBUG`, `REPLICAOF`, `MIGRATE`, `SAVE` and the like.
They are given by category, because Redis 6.2 refuses to start with the name of a command that came later.
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

#: Bytes of a socket's path: macOS takes 104 with the final zero, Linux 108.
_LONGEST: Final = 103
_SOCKET: Final = "redis.sock"
_CONFIG: Final = "redis.conf"
_USER: Final = "windfall"
_RIGHTS: Final = "+@read +@write +@connection +@transaction +@pubsub +@scripting -@dangerous -@admin +info +time"


@asynccontextmanager
async def private_redis(server: Path, folder: Path, *, durable: bool) -> AsyncIterator[str]:
    """Run this `redis-server` with its files in `folder`; yields its URL once it answers.

    Raises `ConfigError` where the folder is open to others, and `BrokerUnavailable`.
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
    """redis.conf, which unlike a command line nobody reads in `ps`."""
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
    """A word of redis.conf. Bytes that are no text are written out, as those of a control character are."""
    inner = "".join(
        chr(byte) if 0x20 < byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02x}" for byte in os.fsencode(path)
    )
    return f'"{inner}"'


@contextmanager
def _socket_folder(folder: Path) -> Iterator[Path]:
    """The folder itself, or where its path is too long for a socket, one of its own with a short path."""
    if len(os.fsencode(folder / _SOCKET)) <= _LONGEST:
        yield folder
        return
    try:
        short = Path(tempfile.mkdtemp(prefix="windfall-", dir="/tmp"))
    except OSError as exc:
        raise ConfigError(
            f"{folder} is too long for a socket, and /tmp takes none ({exc.strerror}): shorten TMPDIR"
        ) from exc
    try:
        yield short
    finally:
        shutil.rmtree(short, ignore_errors=True)
