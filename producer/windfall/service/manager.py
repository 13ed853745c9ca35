"""The interface: what launchd and systemd both do for a worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from windfall.config.private import open_private
from windfall.errors import ConfigError
from windfall.service.plan import Plan
from windfall.service.programs import Command, Run, must, run_program
from windfall.service.state import State
from windfall.telemetry.log_file import make_log_folder


class ServiceManager(ABC):
    """Manages one worker per user: the unit's name is fixed, so there is never a second one by accident."""

    name: ClassVar[str]
    mend: ClassVar[str]  #: what the user can do if its program fails

    def __init__(self, run: Run = run_program) -> None:
        self.run = run

    @property
    @abstractmethod
    def unit(self) -> Path:
        """The file that defines the service."""

    @property
    @abstractmethod
    def log_file(self) -> Path:
        """The log file of a worker under this manager."""

    @property
    def error_file(self) -> Path | None:
        """The file of its stderr, with errors from before the log is opened; None if the manager keeps them."""
        return None

    @abstractmethod
    def render(self, plan: Plan) -> bytes:
        """The content of `unit`."""

    @property
    @abstractmethod
    def starting(self) -> Sequence[Command]:
        """The commands that start it, now and at every login."""

    @property
    @abstractmethod
    def stopping(self) -> Sequence[Command]:
        """The commands that stop it, now and at future logins; the unit stays."""

    @abstractmethod
    def state(self) -> State:
        """The state of the worker."""

    def start(self) -> None:
        """Start the service defined in `unit`. Raises `ConfigError`."""
        for command in self.starting:
            must(self.run, command, self.mend)

    @abstractmethod
    def stop(self) -> None:
        """Drain the worker and wait until it has ended; the unit stays. Raises `ConfigError`."""

    def after_removal(self) -> None:  # noqa: B027 - launchd has nothing to do
        """Tell the manager that the unit has been removed."""

    @property
    def installed(self) -> bool:
        """Whether there is a service, or remains of one."""
        return self.unit.exists() or self.state().loaded

    def install(self, plan: Plan) -> None:
        """Write the unit and start it, replacing an existing one. Raises `ConfigError`.

        If the new unit cannot be started, it is removed and the previous one is restored.
        """
        self.unit.parent.mkdir(parents=True, exist_ok=True)
        make_log_folder(self.log_file.parent)
        if self.error_file is not None:
            open_private(self.error_file, "ab").close()  # launchd would make it readable by everyone
        before = self.unit.read_bytes() if self.unit.exists() else None
        if self.state().loaded:
            self.stop()
        self.unit.write_bytes(self.render(plan))
        try:
            self.start()
        except ConfigError as exc:
            raise ConfigError(f"{exc}{self._put_back(before)}") from exc
        except BaseException:
            self._put_back(before)
            raise

    def uninstall(self) -> None:
        """Drain the worker, wait until it has ended, and remove the unit. Raises `ConfigError`."""
        if self.state().loaded:
            self.stop()
        self._remove()

    def _put_back(self, unit: bytes | None) -> str:
        """Undo what a failed start left behind, such as a link for the next login; returns a remark for the error."""
        for command in self.stopping:
            self.run(command)
        if unit is None:
            self._remove()
            return ""
        self.unit.write_bytes(unit)
        try:
            self.start()
        except ConfigError:
            return f"; the previous service does not start either, and {self.unit} was restored for the next login"
        return "; the previous service is running again"

    def _remove(self) -> None:
        self.unit.unlink(missing_ok=True)
        self.after_removal()
