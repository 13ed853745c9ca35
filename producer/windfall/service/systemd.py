"""Linux: a systemd user unit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from windfall.config.settings import config_home, state_home
from windfall.service.manager import ServiceManager
from windfall.service.plan import NAME, Plan
from windfall.service.programs import Command, must
from windfall.service.state import State

UNIT: Final = f"{NAME}.service"

_EXITED, _KILLED, _DUMPED = "1", "2", "3"  # ExecMainCode: the si_code of waitid(2)
_PLAIN: Final = re.compile(r"[\w@+=:,./-]+")
_ASKED: Final = ("LoadState", "MainPID", "ExecMainCode", "ExecMainStatus")


class Systemd(ServiceManager):
    """See systemd.service(5) and systemctl(1)."""

    name: ClassVar[str] = "systemd"
    mend: ClassVar[str] = "log in as yourself (not with su or sudo), or run loginctl enable-linger first"

    @property
    def unit(self) -> Path:
        """The unit file."""
        return config_home() / "systemd" / "user" / UNIT

    @property
    def log_file(self) -> Path:
        """The log file in the XDG state folder."""
        return state_home() / "windfall" / "worker.log"

    def render(self, plan: Plan) -> bytes:
        """The unit file."""
        command = " ".join(map(_quoted, plan.command))
        return f"""\
[Unit]
Description=Windfall worker
# A worker that cannot start now (no Redis, no network) is retried forever.
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={command}
Restart=on-failure
RestartSec=10
# Only the worker is told to drain; it stops its engines itself.
KillMode=mixed
KillSignal=SIGTERM
TimeoutStopSec={plan.stop_timeout}

[Install]
WantedBy=default.target
""".encode()

    @property
    def starting(self) -> Sequence[Command]:
        """Now, and whenever the user manager starts."""
        return [("systemctl", "--user", "daemon-reload"), ("systemctl", "--user", "enable", "--now", UNIT)]

    @property
    def stopping(self) -> Sequence[Command]:
        """Returns when the worker has ended."""
        return [("systemctl", "--user", "disable", "--now", UNIT)]

    def stop(self) -> None:
        """Nothing to do: `disable --now` waits by itself."""
        for command in self.stopping:
            must(self.run, command, self.mend)

    def after_removal(self) -> None:
        """Reload: systemd still has the unit in memory."""
        self.run(["systemctl", "--user", "daemon-reload"])

    def state(self) -> State:
        """Parse the output of `systemctl show`."""
        ran = self.run(["systemctl", "--user", "show", UNIT, f"--property={','.join(_ASKED)}"])
        fields = dict(line.partition("=")[::2] for line in ran.out.splitlines())
        if ran.code or fields.get("LoadState", "not-found") == "not-found":
            return State()
        pid = int(fields.get("MainPID") or 0)
        return State(loaded=True, pid=pid or None, last_exit=_last_exit(fields))


def _last_exit(fields: dict[str, str]) -> str | None:
    kind = {_EXITED: "exit code", _KILLED: "signal", _DUMPED: "signal"}.get(fields.get("ExecMainCode", ""))
    return f"{kind} {fields.get('ExecMainStatus', '?')}" if kind else None


def _quoted(word: str) -> str:
    """Quote one word of ExecStart, where % and $ are special."""
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
