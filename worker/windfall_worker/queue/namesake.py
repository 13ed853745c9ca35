"""Another live worker of the same name: told of at the start, not when somebody wonders which of them is which."""

from __future__ import annotations

import logging
import os
import socket

from arq import ArqRedis

from windfall.broker.connection import translated
from windfall.errors import ConfigError
from windfall.queue.fleet import WorkerStatus, read_fleet, worker_name
from windfall_worker.settings import WorkerSettings

logger = logging.getLogger("windfall.worker")


async def look_for_namesake(redis: ArqRedis, settings: WorkerSettings, worker_id: str) -> None:
    """Raise `ConfigError` where this machine runs a worker of the name that was given; elsewhere is only told of.

    Without a name of its own a worker goes by its machine's, and several may: their ids differ.
    """
    if settings.name is None:
        return
    with translated():
        workers = (await read_fleet(redis)).workers
    for other in workers:
        if worker_name(other.id) != worker_name(worker_id) or not _lives(other):
            continue
        who = f"another worker named {settings.name!r} is live (pid {other.pid} on {other.host})"
        if other.host == socket.gethostname():
            raise ConfigError(f"{who}; stop it first, or give this one another --name")
        logger.warning("%s; their ids tell them apart, their name does not", who)


def _lives(other: WorkerStatus) -> bool:
    """A worker that was killed leaves its heartbeat behind for seconds, in which its service starts it again."""
    if other.host != socket.gethostname():
        return True
    if other.pid == os.getpid():
        return False
    try:
        os.kill(other.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    return True
