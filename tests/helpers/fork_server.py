"""`windfall …` as a process of its own that need not import Windfall: it is forked from one that has.

But for its imports it is as if it had just been started: its arguments, folder, environment, pipes and exit code are
its own. A test of the start itself, or one that sends signals, starts a real one.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Final

from helpers.waiting import PATIENCE
from windfall.cli.app import COMMANDS, main

#: On macOS it is not safe to fork a process that has loaded the system's libraries.
_CAN_FORK: Final = sys.platform == "linux"


def run_windfall(
    args: Sequence[str], *, folder: Path, environment: Mapping[str, str], stdin: bytes
) -> subprocess.CompletedProcess[bytes]:
    """The command's exit code and output. Raises `subprocess.TimeoutExpired` when it does not end."""
    if _CAN_FORK:
        return _run_forked(args, folder, environment, stdin)
    command = [sys.executable, "-m", "windfall", *args]
    return subprocess.run(
        command, cwd=folder, env=environment, input=stdin, capture_output=True, check=False, timeout=PATIENCE
    )


def _run_forked(
    args: Sequence[str], folder: Path, environment: Mapping[str, str], stdin: bytes
) -> subprocess.CompletedProcess[bytes]:
    (theirs_in, ours_in), (ours_out, theirs_out), (ours_err, theirs_err) = (Pipe(duplex=False) for _ in range(3))
    theirs = (theirs_in, theirs_out, theirs_err)
    process = _context().Process(target=_become, args=(tuple(args), str(folder), dict(environment), theirs))
    process.start()
    for end in theirs:
        end.close()
    with ThreadPoolExecutor(3) as pool, ours_in, ours_out, ours_err:
        pool.submit(_feed, ours_in, stdin)
        said = [pool.submit(_read, end) for end in (ours_out, ours_err)]
        process.join(PATIENCE)
        code = process.exitcode
        process.kill()
        out, err = (each.result() for each in said)
    process.join()
    process.close()
    if code is None:
        raise subprocess.TimeoutExpired(list(args), PATIENCE, out, err)
    return subprocess.CompletedProcess(args, code, out, err)


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    modules = {where.partition(":")[0] for where in COMMANDS.values()}
    context.set_forkserver_preload(["windfall.cli", *modules, "windfall_worker.main"])
    return context


def _feed(end: Connection, data: bytes) -> None:
    with suppress(BrokenPipeError), open(end.fileno(), "wb", closefd=False) as file:
        file.write(data)
    end.close()


def _read(end: Connection) -> bytes:
    with open(end.fileno(), "rb", closefd=False) as file:
        return file.read()


def _become(
    args: Sequence[str], folder: str, environment: Mapping[str, str], pipes: tuple[Connection, Connection, Connection]
) -> None:
    """In the forked process: be the command. Ends as `main` does, by `SystemExit`."""
    for number, pipe in enumerate(pipes):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    tempfile.tempdir = None
    os.chdir(folder)
    sys.argv = ["windfall", *args]
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)), "utf-8", "backslashreplace", line_buffering=True
    )
    main()
