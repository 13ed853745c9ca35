"""What the service runs, and where its files lie."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from windfall.config.settings import FILE_NAME, config_home

NAME: Final = "windfall-worker"

#: Seconds that a worker gets besides its drain time: for what is on its way to Redis, and to put its engines away.
_LAST_STEPS: Final = 30.0

EMPTY_ENV_FILE: Final = """\
# Keys of the worker, as KEY=VALUE lines; nobody but you may read this file.
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
        """The words of the command line."""
        files = {"--config": self.config, "--env-file": self.env_file, "--log-file": self.log_file}
        # -P: services start in the home folder, and a redis.py that lies there is none of ours.
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
    """The one that a service has; a folder's own windfall.toml is for who works there."""
    return config_home() / "windfall" / FILE_NAME


def env_file() -> Path:
    """The keys beside it."""
    return config_home() / "windfall" / "worker.env"
