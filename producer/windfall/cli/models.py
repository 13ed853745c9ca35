"""The models named on the command line and in `windfall.toml`, and the check that the worker is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from windfall.cli.screen.console import named_number
from windfall.config.settings import Settings
from windfall.errors import ConfigError
from windfall.explain import explain, vocabulary
from windfall.runtime.extras import NO_WORKER

if TYPE_CHECKING:
    from windfall_worker.settings import ModelSettings, ProviderSettings, WorkerSettings

Value = TypeVar("Value", bound=BaseModel)


@contextmanager
def worker_package() -> Iterator[None]:
    """Wraps an import of the worker: says what to install if it, or a dependency of it, is missing."""
    try:
        yield
    except ModuleNotFoundError as exc:
        raise ConfigError(NO_WORKER) from exc


def require_worker() -> None:
    """Raises `ConfigError` if the worker cannot run, before anything is started."""
    with worker_package():
        import windfall_worker.main  # noqa: F401, PLC0415 - an extra; imported to see whether that works


def models_for(
    mlx: Sequence[str], simulated: Sequence[str], cloud: Sequence[str], slots: int | None, settings: Settings
) -> tuple[ModelSettings, ...]:
    """The models of these flags or, without flags, those of `windfall.toml`. Raises `ConfigError`."""
    with worker_package():
        from windfall_worker.settings import ModelSettings  # noqa: PLC0415 - an extra
    tables: dict[str, dict[str, Any]] = {}
    here: list[tuple[str, str, str | float]] = [(name, "mlx", path) for name, path in map(_named_path, mlx)]
    for text in simulated:
        name, seconds = named_number(text, "--simulate")
        here.append((name, "simulate", seconds))
    for name, key, value in here:
        if name in tables:
            raise ConfigError(f"model {name!r} is named twice; give each model its own name")
        tables[name] = {key: value}
    for name, mapping in map(_named_mapping, cloud):
        tables.setdefault(name, {}).setdefault("cloud", []).append(mapping)
    extra = {} if slots is None else {"slots": slots}
    found = [{"name": name, **table, **extra} for name, table in (tables or settings.models).items()]
    if not found:
        raise ConfigError("name at least one model, such as --model demo or --model small=mlx-community/Qwen3-4B-4bit")
    return tuple(checked(ModelSettings, table, f"model {table['name']!r}") for table in found)


def model_for_run(text: str, simulate: float | None, slots: int | None, settings: Settings) -> ModelSettings:
    """The model of `run`: a name in `windfall.toml`, a folder, a repository, or `demo`."""
    with worker_package():
        from windfall_worker.settings import ModelSettings  # noqa: PLC0415 - an extra
    named = settings.models.get(text, {})
    table: dict[str, Any] = {"mlx": named.get("mlx") or text, "slots": named.get("slots", 32)}
    if slots is not None:
        table["slots"] = slots
    if simulate is not None:
        table = {"simulate": simulate, "slots": table["slots"]}
    return checked(ModelSettings, {"name": _short_name(text), **table}, f"model {text!r}")


def providers_of(settings: Settings) -> dict[str, ProviderSettings]:
    """The `[providers.NAME]` tables; keys that a table for a built-in provider omits keep their built-in values.

    Raises `ConfigError`, also for a provider that would send a key where no settings file may send it.
    """
    with worker_package():
        from windfall_worker.cloud.key_origins import check_key_origin  # noqa: PLC0415 - an extra
        from windfall_worker.settings import BUILT_IN, ProviderSettings  # noqa: PLC0415 - an extra
    found = {
        name: checked(
            ProviderSettings, (BUILT_IN[name].model_dump() if name in BUILT_IN else {}) | table, f"provider {name!r}"
        )
        for name, table in settings.providers.items()
    }
    for name, provider in found.items():
        check_key_origin(name, provider, settings.key_origins)
    return found


def worker_settings(settings: Settings, flags: Mapping[str, Any]) -> WorkerSettings:
    """The `[worker]` table of `windfall.toml`, overridden by the flags. Raises `ConfigError`."""
    with worker_package():
        from windfall_worker.settings import WorkerSettings  # noqa: PLC0415 - an extra
    if misplaced := {"models", "providers"} & set(settings.worker):
        raise ConfigError(f"the [worker] table has no key {min(misplaced)!r}: write [{min(misplaced)}.NAME] tables")
    whole = {"providers": providers_of(settings), "max_row_bytes": settings.max_row_bytes}
    table = {**settings.worker, **flags, **whole}
    return checked(WorkerSettings, table, "[worker]" if settings.worker else "this worker")


def checked(kind: type[Value], table: Mapping[str, Any], what: str) -> Value:
    """Validate this table. Raises `ConfigError`, naming `what` and the key."""
    try:
        return kind.model_validate(dict(table))
    except ValidationError as exc:
        wrong = explain(exc, dict(table), vocabulary(kind))
        raise ConfigError(f"{what}{f', {wrong.field}' if wrong.field else ''}: {wrong.reason}") from None


def _named_path(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals:
        return _short_name(text), text
    if not name or not path:
        raise ConfigError(f"--model takes NAME=PATH_OR_REPOSITORY, not {text!r}")
    return name, path


def _named_mapping(text: str) -> tuple[str, str]:
    name, _, mapping = text.partition("=")
    if not name or not all(mapping.partition(":")):
        raise ConfigError(f"--cloud takes NAME=PROVIDER:MODEL, such as --cloud small=openai:gpt-5-mini, not {text!r}")
    return name, mapping


def _short_name(path: str) -> str:
    """The last part of a folder's path, so that no path of this machine gets into the results; other text as it is."""
    return Path(path).resolve().name if Path(path).is_dir() else path
