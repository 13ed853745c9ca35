"""The models of a command line and of `windfall.toml`, as a worker takes them; and the worker package itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from windfall.cli.console import named_number
from windfall.errors import ConfigError
from windfall.formats.explain import explain, vocabulary
from windfall.settings import Settings

if TYPE_CHECKING:
    from windfall_worker.settings import ModelSettings

MISSING = 'this needs the worker extra: pip install "windfall[worker]"'


@contextmanager
def worker_package() -> Iterator[None]:
    """Around an import of the worker: says what to install where it, or what it stands on, is missing."""
    try:
        yield
    except ModuleNotFoundError as exc:
        raise ConfigError(MISSING) from exc


def models_for(
    flags: Sequence[str], simulated: Sequence[str], slots: int | None, settings: Settings
) -> tuple[ModelSettings, ...]:
    """The models of these flags, or without flags those of `windfall.toml`. Raises `ConfigError`."""
    extra: dict[str, Any] = {} if slots is None else {"slots": slots}
    found = [{"name": name, "mlx": path} | extra for name, path in map(_named_path, flags)]
    for text in simulated:
        name, seconds = named_number(text, "--simulate")
        found.append({"name": name, "simulate": seconds} | extra)
    if not found:
        found = [{"name": name, **table} | extra for name, table in settings.models.items()]
    names = [model["name"] for model in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"model {twice[0]!r} is named twice; every model needs a name of its own")
    if not found:
        raise ConfigError("name at least one model, such as --model demo or --model small=mlx-community/Qwen3-4B-4bit")
    return tuple(_model(table, settings) for table in found)


def model_for_run(text: str, simulate: float | None, slots: int | None, settings: Settings) -> ModelSettings:
    """The one model of `run`: a name of `windfall.toml`, a folder, a repository, or `demo`."""
    table: Mapping[str, Any] = settings.models.get(text, {"mlx": text})
    extra = {"slots": slots} if slots is not None else {}
    if simulate is not None:
        table = {"simulate": simulate}
    return _model({"name": _short_name(text), **table, **extra}, settings)


def _named_path(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals:
        return _short_name(text), text
    if not name or not path:
        raise ConfigError(f"--model takes NAME=PATH_OR_REPOSITORY, not {text!r}")
    return name, path


def _short_name(path: str) -> str:
    """A folder goes by its own name, so that no path of this machine gets into the results; the rest as it is."""
    return Path(path).resolve().name if Path(path).is_dir() else path


def _model(table: Mapping[str, Any], settings: Settings) -> ModelSettings:
    with worker_package():
        from windfall_worker.settings import ModelSettings  # noqa: PLC0415 - an extra
    try:
        return ModelSettings.model_validate(dict(table))
    except ValidationError as exc:
        wrong = explain(exc, dict(table), vocabulary(ModelSettings))
        where = f"{settings.source}, " if settings.source and table["name"] in settings.models else ""
        raise ConfigError(f"{where}model {table['name']!r}, {wrong.field or 'settings'}: {wrong.reason}") from None
