"""The seam: what launchd and systemd both do for a worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from windfall.service.plan import Plan
from windfall.service.programs import Command, Run, must, run_program
from windfall.service.state import State


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

    @abstractmethod
    def after_stop(self) -> None:
        """Wait for the worker's end where `stopping` does not."""

    def after_removal(self) -> None:  # noqa: B027 - launchd has nothing to do
        """Tell the manager that the unit is gone."""

    @property
    def installed(self) -> bool:
        """Whether there is a service, or what is left of one."""
        return self.unit.exists() or self.state().loaded

    def install(self, plan: Plan) -> None:
        """Write the unit and start it; a unit that cannot be started is taken away again. Raises `ConfigError`."""
        for folder in (self.unit.parent, self.log_file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self.unit.write_bytes(self.render(plan))
        try:
            for command in self.starting:
                must(self.run, command, self.mend)
        except BaseException:
            self.unit.unlink(missing_ok=True)
            raise

    def uninstall(self) -> None:
        """Drain the worker, wait for its end, and take the unit away. Raises `ConfigError`."""
        if self.state().loaded:
            for command in self.stopping:
                must(self.run, command, self.mend)
            self.after_stop()
        self.unit.unlink(missing_ok=True)
        self.after_removal()
