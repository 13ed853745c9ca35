"""macOS: a LaunchAgent, which runs while its user is logged in."""

from __future__ import annotations

import os
import plistlib
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from windfall.errors import ConfigError
from windfall.service.manager import ServiceManager
from windfall.service.plan import NAME, Plan
from windfall.service.programs import Command, must
from windfall.service.state import State

LABEL: Final = f"io.windfall.{NAME}"

_THROTTLE: Final = 30  # seconds between two starts of a failing worker
_LOOK: Final = 0.2  # seconds
_LONGEST_DRAIN: Final = 3600.0  # seconds; launchd itself kills what is still running after ExitTimeOut
_CLEANING_UP: Final = 10.0  # seconds

# launchctl's exit codes are macOS' error numbers. A bootout that has begun, of a service that may already be gone:
_NO_SUCH_PROCESS, _IN_PROGRESS = 3, 36
# … and a bootstrap while the previous service of that label is still being cleaned up; 5 has other causes, too.
_INPUT_OUTPUT, _ALREADY = 5, 37

# Exactly one tab: a service's endpoints have fields of the same names, indented further.
_FIELD: Final = re.compile(r"^\t([a-z ]+) = (.*)$", re.MULTILINE)


class Launchd(ServiceManager):
    """See launchd.plist(5) and launchctl(1)."""

    name: ClassVar[str] = "launchd"
    mend: ClassVar[str] = (
        "log in at this Mac's own screen first (ssh alone provides no session to run in), "
        "and check that Login Items in System Settings allow it"
    )

    @property
    def unit(self) -> Path:
        """The property list."""
        return Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"

    @property
    def log_file(self) -> Path:
        """A folder that Console also shows."""
        return Path.home() / "Library" / "Logs" / "windfall" / "worker.log"

    @property
    def error_file(self) -> Path:
        """Next to the log; launchd appends to it."""
        return self.log_file.with_name("worker.stderr.log")

    def render(self, plan: Plan) -> bytes:
        """The property list, as XML."""
        return plistlib.dumps(
            {
                "Label": LABEL,
                "ProgramArguments": plan.command,
                "RunAtLoad": True,
                "KeepAlive": {"SuccessfulExit": False},
                "ThrottleInterval": _THROTTLE,
                # Without it launchd kills the worker after 20 s, in the middle of a drain.
                "ExitTimeOut": plan.stop_timeout,
                # For other types macOS throttles CPU and disk, and the GPU would wait for the next step.
                "ProcessType": "Interactive",
                "WorkingDirectory": str(Path.home()),
                # The worker writes and rotates its own log; this file gets only what bypasses logging.
                "StandardOutPath": os.devnull,
                "StandardErrorPath": str(self.error_file),
            },
            sort_keys=False,
        )

    @property
    def starting(self) -> Sequence[Command]:
        """RunAtLoad starts it."""
        return [("launchctl", "bootstrap", self._domain, str(self.unit))]

    @property
    def stopping(self) -> Sequence[Command]:
        """SIGTERM, which drains."""
        return [("launchctl", "bootout", self._target)]

    def start(self) -> None:
        """For a moment after a `bootout`, launchd rejects the same label."""
        (command,) = self.starting
        end = time.monotonic() + _CLEANING_UP
        while must(self.run, command, self.mend, () if time.monotonic() > end else (_INPUT_OUTPUT, _ALREADY)).code:
            time.sleep(_LOOK)

    def stop(self) -> None:
        """`bootout` returns while the worker still drains; until that has ended, its label cannot be loaded again."""
        (command,) = self.stopping
        must(self.run, command, self.mend, (_IN_PROGRESS, _NO_SUCH_PROCESS))
        end = time.monotonic() + _LONGEST_DRAIN
        while self.state().loaded:
            if time.monotonic() > end:
                raise ConfigError(f"the worker has not ended; launchctl print {self._target} says more")
            time.sleep(_LOOK)

    def state(self) -> State:
        """Parse the output of `launchctl print`."""
        ran = self.run(["launchctl", "print", self._target])
        if ran.code:
            return State()
        fields = dict(_FIELD.findall(ran.out))
        pid = fields.get("pid", "")
        return State(loaded=True, pid=int(pid) if pid.isdigit() else None, last_exit=_last_exit(fields))

    @property
    def _domain(self) -> str:
        return f"gui/{os.getuid()}"

    @property
    def _target(self) -> str:
        return f"{self._domain}/{LABEL}"


def _last_exit(fields: dict[str, str]) -> str | None:
    """Parse `1`, `78: EX_CONFIG` or `(never exited)`; after a signal, a separate field has `Killed: 9`."""
    if signal := fields.get("last terminating signal"):
        return f"signal {signal.rpartition(': ')[2]}"
    code = fields.get("last exit code", "").partition(":")[0]
    return f"exit code {code}" if code.isdigit() else None
