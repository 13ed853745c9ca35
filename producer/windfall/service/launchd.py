"""macOS: a LaunchAgent, which runs as long as its user is logged in."""

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

_THROTTLE: Final = 30  # seconds between two starts of a worker that fails
_LOOK: Final = 0.2  # seconds
_LONGEST_DRAIN: Final = 3600.0  # seconds; launchd itself kills what is still there after ExitTimeOut
_CLEANING_UP: Final = 10.0  # seconds

# What launchctl ends with, in macOS' own numbers. A bootout that is begun and not done, of what may be gone meanwhile:
_NO_SUCH_PROCESS, _IN_PROGRESS = 3, 36
# … and a bootstrap while the label of the one before is still being cleaned up; 5 has other causes, too.
_INPUT_OUTPUT, _ALREADY = 5, 37

# One tab and no more: what launchd prints of a service's end points has fields of the same names, further in.
_FIELD: Final = re.compile(r"^\t([a-z ]+) = (.*)$", re.MULTILINE)


class Launchd(ServiceManager):
    """See launchd.plist(5) and launchctl(1)."""

    name: ClassVar[str] = "launchd"
    mend: ClassVar[str] = (
        "log in at this Mac's own screen first (over ssh alone there is no session to run in), "
        "and see that Login Items in System Settings allow it"
    )

    @property
    def unit(self) -> Path:
        """The property list."""
        return Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"

    @property
    def log_file(self) -> Path:
        """Where Console looks, too."""
        return Path.home() / "Library" / "Logs" / "windfall" / "worker.log"

    @property
    def error_file(self) -> Path:
        """Beside the log; launchd appends to it."""
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
                # Without it launchd kills after 20 s, in the middle of a drain.
                "ExitTimeOut": plan.stop_timeout,
                # Anything else has its CPU and disk held back, and then the GPU waits for the next step.
                "ProcessType": "Interactive",
                "WorkingDirectory": str(Path.home()),
                # The worker logs to a file of its own, which it rotates; here is only what no logging catches.
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
        """For a moment after a `bootout` launchd takes nothing of the same label."""
        (command,) = self.starting
        end = time.monotonic() + _CLEANING_UP
        while must(self.run, command, self.mend, () if time.monotonic() > end else (_INPUT_OUTPUT, _ALREADY)).code:
            time.sleep(_LOOK)

    def stop(self) -> None:
        """`bootout` returns while the worker still drains, and until it has ended nothing can be loaded anew."""
        (command,) = self.stopping
        must(self.run, command, self.mend, (_IN_PROGRESS, _NO_SUCH_PROCESS))
        end = time.monotonic() + _LONGEST_DRAIN
        while self.state().loaded:
            if time.monotonic() > end:
                raise ConfigError(f"the worker has not ended; launchctl print {self._target} says more")
            time.sleep(_LOOK)

    def state(self) -> State:
        """Out of `launchctl print`."""
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
    """`1`, `78: EX_CONFIG` or `(never exited)`; and, after a signal, `Killed: 9` in a field of its own."""
    if signal := fields.get("last terminating signal"):
        return f"signal {signal.rpartition(': ')[2]}"
    code = fields.get("last exit code", "").partition(":")[0]
    return f"exit code {code}" if code.isdigit() else None
