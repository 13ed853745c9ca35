"""Another live worker of the same name: reported at the start, before anyone has to tell the two apart."""

from __future__ import annotations

import logging
import os
import socket

from arq import ArqRedis

from windfall.broker.connection import translated
from windfall.errors import ConfigError
from windfall.queue.fleet import read_fleet
from windfall.queue.workers import WorkerStatus, worker_name
from windfall_worker.settings import WorkerSettings

logger = logging.getLogger("windfall.worker")


async def check_namesake(redis: ArqRedis, settings: WorkerSettings, worker_id: str) -> None:
    """Raise `ConfigError` if this machine already runs a worker with the given name; warn if another machine does.

    A worker without a name uses its machine's, which several workers may share: their ids differ.
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
        logger.warning("%s; only their ids tell the two apart", who)


def _lives(other: WorkerStatus) -> bool:
    """Whether the worker's process exists: a killed worker's heartbeat outlives it, and its service restarts it."""
    if other.host != socket.gethostname():
        return True
    if other.pid == os.getpid():
        return False
    try:
        os.kill(other.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it belongs to another user
    return True
