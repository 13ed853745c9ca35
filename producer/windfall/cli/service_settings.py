"""Checks of settings and keys before a service is installed: nobody watches a service's errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from windfall.broker.connection import redact
from windfall.cli.models import models_for, worker_package, worker_settings
from windfall.config.env_file import read_env_file
from windfall.config.settings import DEFAULT_REDIS, Settings, load_settings
from windfall.config.trust import TRUSTED
from windfall.errors import ConfigError

if TYPE_CHECKING:
    from windfall_worker.settings import WorkerSettings

_EXAMPLE: Final = 'the two lines [models.small] and mlx = "mlx-community/Qwen3-4B-4bit"'


def service_settings(config: Path, env_file: Path) -> WorkerSettings:
    """The settings of a service with these files. Raises `ConfigError`, which says what to write where."""
    if not config.is_file():
        raise ConfigError(
            f"a service reads its settings from {config}, which does not exist: create it, for example with {_EXAMPLE}"
        )
    keys = read_env_file(env_file) if env_file.exists() else {}
    settings = _settings(config, keys, env_file)
    if not settings.models:
        raise ConfigError(f"{config} names no model to serve: add one, such as {_EXAMPLE}")
    found = worker_settings(settings, {"models": models_for([], [], [], None, settings)})
    _require_redis(settings, keys, env_file)
    _require_keys(found, keys, env_file)
    _require_models(found)
    return found


def _settings(config: Path, keys: dict[str, SecretStr], env_file: Path) -> Settings:
    try:
        return load_settings(config=config, service=keys)
    except ConfigError as exc:
        if TRUSTED not in str(exc):
            raise
        where = f"as a line of {env_file}, since a service does not see this shell's variables"
        raise ConfigError(f"{exc}: {where}") from None


def _require_redis(settings: Settings, keys: dict[str, SecretStr], env_file: Path) -> None:
    """A service does not see what a shell exported: it would wait for a Redis on its own machine."""
    if settings.redis != DEFAULT_REDIS and settings.redis_of_file is None and "WINDFALL_REDIS_URL" not in keys:
        raise ConfigError(
            f"WINDFALL_REDIS_URL is {redact(settings.redis)} in this shell, which a service does not see: "
            f"write it into {env_file} (with umask 077)"
        )


def _require_keys(found: WorkerSettings, keys: dict[str, SecretStr], env_file: Path) -> None:
    for provider in sorted({provider for model in found.models for provider, _ in model.mappings()}):
        name = found.provider(provider).api_key_env
        if name is not None and not (name in keys and keys[name].get_secret_value().strip()):
            raise ConfigError(
                f"provider {provider} needs {name}, which a service reads from {env_file}: "
                f"write a line {name}=… there (with umask 077)"
            )


def _require_models(found: WorkerSettings) -> None:
    with worker_package():
        from windfall_worker.engine.model_files import resolve_model  # noqa: PLC0415 - an extra
    for model in found.models:
        if model.mlx is None:
            continue
        resolved = Path(resolve_model(model.mlx))
        if resolved.is_absolute() and model.mlx != "demo" and not Path(model.mlx).expanduser().is_absolute():
            raise ConfigError(f"model {model.name}: write the full path of the folder {model.mlx}, such as {resolved}")
