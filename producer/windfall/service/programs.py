"""Running the programs that manage services; tests replace them with another `Run`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from windfall.config.child_environment import system_environment
from windfall.errors import ConfigError

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ran:
    """A program's exit code and output."""

    code: int
    out: str = ""
    err: str = ""


Run = Callable[[Sequence[str]], Ran]


def run_program(command: Sequence[str]) -> Ran:
    """Run it to its end. Raises `ConfigError` if it cannot be started."""
    try:
        done = subprocess.run(  # noqa: S603 - the commands are ours
            command, capture_output=True, text=True, check=False, errors="replace", env=system_environment()
        )
    except OSError as exc:
        raise ConfigError(f"cannot run {command[0]}: {exc.strerror}") from exc
    return Ran(done.returncode, done.stdout, done.stderr)


def must(run: Run, command: Sequence[str], mend: str, fine: Collection[int] = ()) -> Ran:
    """Run it. If it fails, raises `ConfigError` with its output and with advice.

    `fine` lists exit codes besides 0 that are not failures.
    """
    ran = run(command)
    if ran.code and ran.code not in fine:
        said = " ".join((ran.err or ran.out).split()) or f"exit code {ran.code}"
        raise ConfigError(f"{' '.join(command)} failed: {said.rstrip('.')}; {mend}")
    return ran
