"""The files with settings and keys: whether they can be read, by whom, and what they set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import SecretStr

from windfall.checks.finding import Finding
from windfall.config.env_file import read_env_file
from windfall.config.private import open_to_others
from windfall.errors import ConfigError


def check_settings_file(path: Path | None) -> Iterator[Finding]:
    """Report the settings file. One that others can read and that holds a password was rejected earlier."""
    if path is not None:
        whose = "which others can read; it holds no password" if open_to_others(path) else "which only you can read"
        yield Finding(ok=True, what=f"the settings are those of {path}, {whose}")


def check_env_file(path: Path) -> tuple[Mapping[str, SecretStr], list[Finding]]:
    """The keys that a service would get."""
    if not path.exists():
        return {}, []
    try:
        found = read_env_file(path)
    except ConfigError as exc:
        return {}, [Finding(ok=False, what=str(exc))]
    names = ", ".join(sorted(found)) or "nothing"
    return found, [Finding(ok=True, what=f"{path} sets {names} for the service, and only you can read it")]
