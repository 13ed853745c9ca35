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

#: Exists where systemd runs; see sd_booted(3).
_BOOTED: Final = Path("/run/systemd/system")
#: Seconds between checks whether jobs are running.
_PERIOD: Final = 1.0
#: Seconds for which the machine is kept awake without jobs, so that not every job starts the program again.
_LINGER: Final = 10.0
#: Seconds that the program has to end before it is killed.
_AT_MOST: Final = 2.0


def awake_command(pid: int) -> list[str] | None:
    """The command that keeps this machine awake until it or the process `pid` ends; None if there is none."""
    if sys.platform == "darwin":
        # -i: no idle sleep; -s: no system sleep on mains power. A closed lid and the Apple menu win over both.
        return ["caffeinate", "-is", "-w", str(pid)]
    if _BOOTED.is_dir():
        inhibit = ["systemd-inhibit", "--what=idle", "--who=windfall", "--why=jobs run"]
        return [*inhibit, "tail", f"--pid={pid}", "-f", "/dev/null"]
    return None


class Awake:
    """Keeps the machine awake with `command` while `busy` returns true."""

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
        """Check until cancelled, or until it turns out that the machine cannot be kept awake; then let it sleep."""
        busy_at = float("-inf")
        try:
            while not self._failed:
                now = time.monotonic()
                if self._busy():
                    busy_at = now
                    self._hold()
                elif self._process and now - busy_at >= self._linger:
                    process, self._process = self._process, None
                    await asyncio.to_thread(_end, process)  # in a thread, so that leases are renewed meanwhile
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
            self._give_up("ended unexpectedly")
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
    _signal_group(process, signal.SIGTERM)
    try:
        process.wait(_AT_MOST)
    except subprocess.TimeoutExpired:
        _signal_group(process, signal.SIGKILL)
        process.kill()
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # The whole group, or the program that systemd-inhibit runs would outlive it.
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS raises the latter for one just ended
        os.killpg(process.pid, number)


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    # In its own session: Ctrl-C in the terminal is meant for the worker, whose jobs may still be ending.
    return subprocess.Popen(  # noqa: S603 - a system program, with a process id
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=system_environment(),
    )
