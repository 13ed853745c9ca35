"""Starting the programs of the fault tests, and waiting for what they do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.processes import environment

_FOLDER = Path(__file__).parent


@contextmanager
def program(name: str, *flags: object, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A script of this folder as a process; killed at the end if it still runs."""
    command = [sys.executable, str(_FOLDER / f"{name}.py"), *map(str, flags)]
    with (log or Path(os.devnull)).open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment())
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
