"""Which service manager this machine has."""

from __future__ import annotations

import shutil

from windfall.errors import ConfigError
from windfall.service.launchd import Launchd
from windfall.service.manager import ServiceManager
from windfall.service.systemd import Systemd

_BY_PROGRAM: dict[str, type[ServiceManager]] = {"launchctl": Launchd, "systemctl": Systemd}


def service_manager() -> ServiceManager:
    """The service manager whose program is on PATH. Raises `ConfigError`."""
    for program, manager in _BY_PROGRAM.items():
        if shutil.which(program):
            return manager()
    raise ConfigError(
        "this machine has neither launchd nor systemd; start windfall worker with its own service manager"
    )
