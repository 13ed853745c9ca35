"""Running the programs that manage services; a test may stand in for them, as another `Run`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from windfall.config.child_environment import system_environment
from windfall.errors import ConfigError

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended, and what it said."""

    code: int
    out: str = ""
    err: str = ""


Run = Callable[[Sequence[str]], Ran]


def run_program(command: Sequence[str]) -> Ran:
    """Run it to its end. Raises `ConfigError` where it cannot be run at all."""
    try:
        done = subprocess.run(  # noqa: S603 - ours
            command, capture_output=True, text=True, check=False, errors="replace", env=system_environment()
        )
    except OSError as exc:
        raise ConfigError(f"cannot run {command[0]}: {exc.strerror}") from exc
    return Ran(done.returncode, done.stdout, done.stderr)


def must(run: Run, command: Sequence[str], mend: str, fine: Collection[int] = ()) -> Ran:
    """Run it. Raises `ConfigError` with its own words, and with what a person may do, where it fails.

    `fine` are exit codes besides 0 that are no failure.
    """
    ran = run(command)
    if ran.code and ran.code not in fine:
        said = " ".join((ran.err or ran.out).split()) or f"exit code {ran.code}"
        raise ConfigError(f"{' '.join(command)} failed: {said.rstrip('.')}; {mend}")
    return ran
