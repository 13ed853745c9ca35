"""A file of KEY=VALUE lines: the keys of a worker that is not started from a shell."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path

from dotenv.parser import parse_stream
from pydantic import SecretStr

from windfall.config.private import require_private
from windfall.config.trust import read_believed
from windfall.errors import ConfigError


def read_env_file(path: Path) -> dict[str, SecretStr]:
    """The variables in the file. Raises `ConfigError`, which never quotes a line: it may be part of a key."""
    try:
        require_private(path, "keys")
        text = read_believed(path)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    bindings = list(parse_stream(io.StringIO(text)))
    found = {}
    for binding in bindings:
        if binding.error or (binding.key is not None and binding.value is None):
            raise ConfigError(f"{path}, line {binding.original.line}: not KEY=VALUE")
        if binding.key is not None:
            found[binding.key] = SecretStr(binding.value or "")
    return found


def into_environment(variables: Mapping[str, SecretStr]) -> None:
    """Set the variables that are not set yet: as everywhere, the environment wins over a file."""
    for name, value in variables.items():
        os.environ.setdefault(name, value.get_secret_value())
