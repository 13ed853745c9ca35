"""The seam: what launchd and systemd both do for a worker."""

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
    """Keeps one worker for one user: the unit's name is fixed, so there is never a second by accident."""

    name: ClassVar[str]
    mend: ClassVar[str]  #: what a person does where its program refuses

    def __init__(self, run: Run = run_program) -> None:
        self.run = run

    @property
    @abstractmethod
    def unit(self) -> Path:
        """The file that makes the service."""

    @property
    @abstractmethod
    def log_file(self) -> Path:
        """Where a worker of this manager logs."""

    @property
    def error_file(self) -> Path | None:
        """Where its stderr goes, which holds what comes before the log is open; None where the manager keeps it."""
        return None

    @abstractmethod
    def render(self, plan: Plan) -> bytes:
        """What stands in `unit`."""

    @property
    @abstractmethod
    def starting(self) -> Sequence[Command]:
        """The commands that start it, now and at every login."""

    @property
    @abstractmethod
    def stopping(self) -> Sequence[Command]:
        """The commands that stop it, now and for good; the unit is still there."""

    @abstractmethod
    def state(self) -> State:
        """What it knows of the worker."""

    def start(self) -> None:
        """Start what `unit` says. Raises `ConfigError`."""
        for command in self.starting:
            must(self.run, command, self.mend)

    @abstractmethod
    def stop(self) -> None:
        """Drain the worker, and wait for its end; the unit stays. Raises `ConfigError`."""

    def after_removal(self) -> None:  # noqa: B027 - launchd has nothing to do
        """Tell the manager that the unit is gone."""

    @property
    def installed(self) -> bool:
        """Whether there is a service, or what is left of one."""
        return self.unit.exists() or self.state().loaded

    def install(self, plan: Plan) -> None:
        """Write the unit and start it, in place of one that is there. Raises `ConfigError`.

        A unit that cannot be started is taken away again, and the one of before is put back.
        """
        self.unit.parent.mkdir(parents=True, exist_ok=True)
        make_log_folder(self.log_file.parent)
        if self.error_file is not None:
            open_private(self.error_file, "ab").close()  # launchd would make it readable for all
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
        """Drain the worker, wait for its end, and take the unit away. Raises `ConfigError`."""
        if self.state().loaded:
            self.stop()
        self._remove()

    def _put_back(self, unit: bytes | None) -> str:
        """Undo what a start that failed left behind, such as a link for the next login; returns what to say of it."""
        for command in self.stopping:
            self.run(command)
        if unit is None:
            self._remove()
            return ""
        self.unit.write_bytes(unit)
        try:
            self.start()
        except ConfigError:
            return f"; the service of before does not start now either, {self.unit} is as it was, for the next login"
        return "; the service of before runs again"

    def _remove(self) -> None:
        self.unit.unlink(missing_ok=True)
        self.after_removal()
