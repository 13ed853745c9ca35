"""Keeps the machine awake while jobs run, and no longer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from windfall.config.child_environment import system_environment

logger = logging.getLogger("windfall.citizen")

#: There where systemd runs, says sd_booted(3).
_BOOTED: Final = Path("/run/systemd/system")
#: Seconds between two looks at whether jobs run.
_PERIOD: Final = 1.0
#: Seconds for which it stays awake without jobs, so that nothing is started anew for each of them.
_LINGER: Final = 10.0
#: Seconds that the program may take to end.
_AT_MOST: Final = 2.0


def awake_command(pid: int) -> list[str] | None:
    """The program that keeps this machine awake until it is ended or the process `pid` ends, however that ends; None
    where there is none.
    """
    if sys.platform == "darwin":
        # -i: no idle sleep; -s: no system sleep on mains power. A closed lid and the Apple menu win over both.
        return ["caffeinate", "-is", "-w", str(pid)]
    if _BOOTED.is_dir():
        inhibit = ["systemd-inhibit", "--what=idle", "--who=windfall", "--why=jobs run"]
        return [*inhibit, "tail", f"--pid={pid}", "-f", "/dev/null"]
    return None


class Awake:
    """Holds such a program while `busy` says so."""

    def __init__(
        self, command: list[str] | None, busy: Callable[[], bool], *, linger: float = _LINGER, period: float = _PERIOD
    ) -> None:
        self._command = command
        self._busy = busy
        self._linger = linger
        self._period = period
        self._process: subprocess.Popen[bytes] | None = None
        self._failed = False

    async def run(self) -> None:
        """Look for ever, or until nothing here can keep it awake; the machine may sleep when this is cancelled."""
        busy_at = float("-inf")
        try:
            while not self._failed:
                now = time.monotonic()
                if self._busy():
                    busy_at = now
                    self._hold()
                elif self._process and now - busy_at >= self._linger:
                    process, self._process = self._process, None
                    await asyncio.to_thread(_end, process)  # leases are renewed meanwhile
                await asyncio.sleep(self._period)
        finally:
            if self._process:
                _end(self._process)

    def _hold(self) -> None:
        if self._process and self._process.poll() is None:
            return
        program = shutil.which(self._command[0]) if self._command else None
        if self._command is None or program is None:
            self._failed = True
        elif self._process:
            self._give_up("ended by itself")
        else:
            try:
                self._process = _start([program, *self._command[1:]])
            except OSError as exc:
                self._give_up(f"cannot be started ({exc.strerror})")

    def _give_up(self, why: str) -> None:
        self._failed = True
        name = self._command[0] if self._command else ""
        logger.warning("%s %s: this machine may fall asleep while jobs run", name, why)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    _tell_group(process, signal.SIGTERM)
    try:
        process.wait(_AT_MOST)
    except subprocess.TimeoutExpired:
        _tell_group(process, signal.SIGKILL)
        process.kill()
        process.wait()


def _tell_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # The whole group: what systemd-inhibit runs would outlive it.
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of one just ended
        os.killpg(process.pid, number)


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the terminal is for the worker, which may have jobs to end.
    return subprocess.Popen(  # noqa: S603 - a program of the system's, with a process id
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=system_environment(),
    )
