"""`windfall doctor`: check the set-up, and say how to fix it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from windfall.broker.connection import without_passwords
from windfall.checks.files import check_env_file, check_settings_file
from windfall.checks.finding import Finding
from windfall.checks.machine import check_embedded, check_installation, check_port, check_service
from windfall.checks.server import check_server
from windfall.checks.serving import check_serving
from windfall.cli import options
from windfall.cli.models import models_for, worker_settings
from windfall.cli.screen.console import say, say_json
from windfall.cli.session import run_async
from windfall.config.settings import Settings, find_config, load_settings
from windfall.errors import ConfigError
from windfall.service.plan import env_file

if TYPE_CHECKING:
    from windfall_worker.settings import WorkerSettings


def doctor(
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Check Redis, the settings, the models, their keys and the service; say how to fix what is wrong.

    The exit code is 1 if anything is wrong.
    """
    ok = True
    for finding in _findings(redis, config):
        ok = ok and finding.ok
        if as_json:
            say_json(finding.as_json())
        else:
            say(without_passwords(str(finding)))
    if not ok:
        raise typer.Exit(1)


def _findings(redis: str | None, config: Path | None) -> Iterator[Finding]:
    """Yield findings as they are made: an unresponsive Redis takes a while."""
    try:
        settings = load_settings(redis=redis, config=config)
    except ConfigError as exc:
        # Nothing else can be checked: the settings also say which Redis to use.
        yield Finding(ok=False, what=str(exc))
        return
    yield from run_async(check_server(settings.redis))
    yield from check_settings_file(find_config(config))
    yield from _worker(settings)
    yield check_embedded()


def _worker(settings: Settings) -> Iterator[Finding]:
    yield from check_installation(models=any("mlx" in table for table in settings.models.values()))
    keys, findings = check_env_file(env_file())
    yield from findings
    pid, findings = check_service()
    yield from findings
    if not settings.models:
        return
    try:
        found = _read(settings)
    except ConfigError as exc:
        yield Finding(ok=False, what=str(exc), mend="correct it in windfall.toml")
        return
    yield from check_serving(found, keys)
    yield from check_port(found, pid)


def _read(settings: Settings) -> WorkerSettings:
    """The settings that `windfall worker` would start with. Raises `ConfigError`."""
    return worker_settings(settings, {"models": models_for([], [], [], None, settings)})
