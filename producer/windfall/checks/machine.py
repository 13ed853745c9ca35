"""This machine: what is installed, its service, and the port of its metrics."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from windfall.checks.finding import Finding
from windfall.embedded.broker import HOW_TO_INSTALL, find_redis_server
from windfall.errors import ConfigError
from windfall.runtime.extras import DISTRIBUTION, NO_WORKER
from windfall.service.choice import service_manager

if TYPE_CHECKING:
    from windfall_worker.settings import WorkerSettings


def check_installation(*, models: bool) -> Iterator[Finding]:
    """Windfall, Python and MLX. `models`: whether any are to run here."""
    yield Finding(ok=True, what=f"windfall {version(DISTRIBUTION)} on Python {platform.python_version()}")
    if find_spec("mlx_lm") is None:
        what = "MLX is not installed; only producers, simulations and cloud workers run here"
        yield Finding(ok=not models, what=what, mend=NO_WORKER)
        return
    import mlx.core as mx  # noqa: PLC0415 - an extra

    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    chip = mx.device_info().get("device_name") or platform.machine()
    gpu = "" if mx.metal.is_available() else "; MLX uses the CPU because Metal is unavailable"
    yield Finding(ok=True, what=f"MLX {version('mlx')} on {chip} with {total / 2**30:,.0f} GiB of memory{gpu}")


def check_embedded() -> Finding:
    """The Redis of `run` and `demo`; having none is not an error, because only these two need it."""
    server = find_redis_server()
    if server is not None:
        return Finding(ok=True, what=f"run and demo start {server.name} by themselves")
    if find_spec("fakeredis") is not None:
        return Finding(ok=True, what="there is no redis-server, so run and demo use fakeredis")
    return Finding(ok=True, what=f"there is no redis-server, which run and demo need; to use them, {HOW_TO_INSTALL}")


def check_port(found: WorkerSettings, service_pid: int | None) -> Iterator[Finding]:
    """The port of the metrics; it may be in use by the service itself."""
    if not found.metrics_port:
        return
    where = f"the metrics port {found.metrics_host}:{found.metrics_port}"
    try:
        with _opened(found.metrics_host, found.metrics_port):
            yield Finding(ok=True, what=f"{where} is free")
    except OSError as exc:
        if service_pid is not None:
            yield Finding(ok=True, what=f"{where} is in use, as it should be while the service runs")
        else:
            mend = "set another metrics_port in the [worker] table"
            yield Finding(ok=False, what=f"{where} cannot be opened ({exc.strerror})", mend=mend)


def _opened(host: str, port: int) -> socket.socket:
    """Open the port as prometheus-client does, including on IPv6 addresses."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    return socket.create_server(address[:2], family=family, dualstack_ipv6=both)


def check_service() -> tuple[int | None, list[Finding]]:
    """The pid of the service if it is running, and the findings."""
    try:
        manager = service_manager()
    except ConfigError:
        return None, []
    if not manager.installed:
        return None, [
            Finding(ok=True, what="the worker is not installed as a service; to install it: windfall worker install")
        ]
    pid = manager.state().pid
    what = f"the worker is a {manager.name} service" + (
        f", running with pid {pid}" if pid else ", but it is not running"
    )
    return pid, [Finding(ok=pid is not None, what=what, mend="windfall worker logs says why")]
