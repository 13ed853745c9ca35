"""What the service runs, and where its files are."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from windfall.config.settings import FILE_NAME, config_home

NAME: Final = "windfall-worker"

#: Seconds that a worker gets on top of its drain time, to flush writes to Redis and to stop its engines.
_LAST_STEPS: Final = 30.0

EMPTY_ENV_FILE: Final = """\
# The worker's keys, as KEY=VALUE lines; only you may be able to read this file.
# OPENAI_API_KEY=
# ANTHROPIC_API_KEY=
# WINDFALL_REDIS_URL=redis://:PASSWORD@HOST:6379
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """`python -P -m windfall worker` with these files."""

    config: Path
    env_file: Path
    log_file: Path
    drain_timeout: float
    python: Path = Path(sys.executable)

    @property
    def command(self) -> list[str]:
        """The arguments of the command line."""
        files = {"--config": self.config, "--env-file": self.env_file, "--log-file": self.log_file}
        # -P: services start in the home folder, where a stray redis.py would shadow the real one.
        return [
            str(self.python),
            "-P",
            "-m",
            "windfall",
            "worker",
            *(str(word) for pair in files.items() for word in pair),
        ]

    @property
    def stop_timeout(self) -> int:
        """Seconds after which a worker that was told to stop may be killed: longer than its drain takes."""
        return round(self.drain_timeout + _LAST_STEPS)


def settings_file() -> Path:
    """The service's settings file; a windfall.toml in another folder applies only to commands run there."""
    return config_home() / "windfall" / FILE_NAME


def env_file() -> Path:
    """The file of keys, next to the settings file."""
    return config_home() / "windfall" / "worker.env"
