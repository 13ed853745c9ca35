"""Windfall's programs as processes, started as a user starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.waiting import eventually
from windfall import Producer

_FAULTS = Path(__file__).parents[1] / "faults"


def environment() -> dict[str, str]:
    """The environment without what would reach into the programs under test."""
    size = ("COLUMNS", "LINES")  # pytest-xdist sets them, and they win over the terminal's own
    return {name: value for name, value in os.environ.items() if not name.startswith("WINDFALL_") and name not in size}


@contextmanager
def worker_process(redis_url: str, *flags: str, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """`windfall worker` as a process; killed at the end if it still runs."""
    with _process("-m", "windfall", "worker", "--redis", redis_url, *flags, log=log) as process:
        yield process


@contextmanager
def program(name: str, *flags: object, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A script of tests/faults as a process; killed at the end if it still runs."""
    with _process(str(_FAULTS / f"{name}.py"), *map(str, flags), log=log) as process:
        yield process


@contextmanager
def _process(*words: str, log: Path | None) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, *words]
    with (log or Path(os.devnull)).open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment())
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


async def workers_up(producer: Producer, count: int) -> None:
    """Wait until so many workers are alive."""

    async def all_up() -> bool:
        return len((await producer.fleet()).workers) >= count

    await eventually(all_up, f"{count} workers being up")


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    listing = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = (line.split() for line in listing.splitlines())
    return [int(child) for child, parent in pairs if int(parent) == pid]
