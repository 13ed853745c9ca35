"""Settings from the environment and `windfall.toml`. Nothing else in the producer reads the environment.

A flag wins over a `WINDFALL_…` variable, and a variable over the settings file: the one that `--config` names, else
`windfall.toml` in the working folder, else in `$XDG_CONFIG_HOME/windfall/` (`~/.config/windfall/`). A file that another
user may have written is not read (see trust.py), and no file decides where a key may be sent (`key_origins`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from windfall.broker.connection import redact
from windfall.config.private import require_private
from windfall.config.trust import TRUSTED, read_believed
from windfall.errors import ConfigError
from windfall.explain import explain, vocabulary
from windfall.limits import MAX_BATCH_ROWS, MAX_METADATA_BYTES, MAX_ROW_BYTES, Limits
from windfall.request import Route

FILE_NAME: Final = "windfall.toml"
DEFAULT_REDIS: Final = "redis://localhost:6379"

_Size = Annotated[int, Field(gt=0)]
_LIMITS: Final = ("max_row_bytes", "max_batch_rows", "max_metadata_bytes")


class Settings(BaseModel):
    """The settings of a producer, and the tables that only a worker interprets."""

    model_config = ConfigDict(frozen=True)

    redis: str = Field(default=DEFAULT_REDIS, repr=False)  # it may hold a password
    route: Route | None = None  #: of rows that are submitted without one
    max_row_bytes: _Size = MAX_ROW_BYTES
    max_batch_rows: _Size = MAX_BATCH_ROWS
    max_metadata_bytes: _Size = MAX_METADATA_BYTES
    worker: dict[str, JsonValue] = Field(default_factory=dict)  #: `[worker]`
    models: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)  #: `[models.NAME]`
    providers: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)  #: `[providers.NAME]`
    source: Path | None = None  #: the file that was read
    redis_of_file: str | None = Field(default=None, repr=False)  #: the Redis that the file names
    #: extra origins that keys may be sent to, even over plain HTTP; from the environment, never from a file
    key_origins: tuple[str, ...] = ()

    @property
    def folder_decides(self) -> bool:
        """Whether the Redis was chosen by a file that merely happens to be in the working folder."""
        return self.source == Path(FILE_NAME) and self.redis == self.redis_of_file

    @property
    def limits(self) -> Limits:
        """The limits of a producer."""
        return Limits(self.max_row_bytes, self.max_batch_rows, self.max_metadata_bytes)


class _File(BaseModel):
    """`windfall.toml`; of tables that only the worker reads, just the names are known here."""

    model_config = ConfigDict(extra="forbid", strict=True)

    redis: str | None = None
    route: Annotated[Route, Field(strict=False)] | None = None  # TOML knows no enumerations
    max_row_bytes: _Size | None = None
    max_batch_rows: _Size | None = None
    max_metadata_bytes: _Size | None = None
    worker: dict[str, JsonValue] = Field(default_factory=dict)
    models: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    providers: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)


class _Environment(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="WINDFALL_", env_ignore_empty=True, hide_input_in_errors=True)

    redis_url: str | None = None
    route: Route | None = None
    max_row_bytes: _Size | None = None
    max_batch_rows: _Size | None = None
    max_metadata_bytes: _Size | None = None
    key_origins: str = ""  #: separated by blanks
    trusted_config: Path | None = None
    xdg_config_home: Path | None = Field(default=None, validation_alias="XDG_CONFIG_HOME")
    xdg_state_home: Path | None = Field(default=None, validation_alias="XDG_STATE_HOME")


def load_settings(
    *, redis: str | None = None, config: Path | None = None, service: Mapping[str, SecretStr] | None = None
) -> Settings:
    """The settings, given the flags `--redis` and `--config`. Raises `ConfigError`.

    `service` has the variables of a service: which files it believes and where keys may go is then for these to say,
    since it does not see those of the shell that installs it.
    """
    environment = _environment()
    if service is not None:
        trusted, origins = (_text(service, name) for name in (TRUSTED, "WINDFALL_KEY_ORIGINS"))
        changed = {"trusted_config": Path(trusted) if trusted else None, "key_origins": origins}
        environment = environment.model_copy(update=changed)
    path = find_config(config)
    file = _parsed(path, environment.trusted_config) if path else _File()
    if path and file.redis and redact(file.redis) != file.redis:
        require_private(path, "the password of Redis")
    found: dict[str, Any] = {
        "worker": file.worker,
        "models": file.models,
        "providers": file.providers,
        "redis": _from_file(redis or environment.redis_url, environment.trusted_config) or file.redis,
        "source": path,
        "redis_of_file": file.redis,
        "route": environment.route or file.route,
        "key_origins": tuple(environment.key_origins.split()),
    } | {name: getattr(environment, name) or getattr(file, name) for name in _LIMITS}
    return Settings(**{name: value for name, value in found.items() if value is not None})


def _text(variables: Mapping[str, SecretStr], name: str) -> str:
    return variables[name].get_secret_value() if name in variables else ""


class _Otel(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="OTEL_", env_ignore_empty=True)

    traces_exporter: str | None = None
    exporter_otlp_endpoint: str | None = None
    exporter_otlp_traces_endpoint: str | None = None
    exporter_otlp_protocol: str | None = None
    exporter_otlp_traces_protocol: str | None = None
    sdk_disabled: str = "false"


def traces_exporters() -> tuple[str, ...]:
    """The exporters of spans that OpenTelemetry's standard variables name; none unless one of them is set."""
    otel = _Otel()
    if otel.sdk_disabled.lower() == "true":
        return ()
    endpoint = otel.exporter_otlp_endpoint or otel.exporter_otlp_traces_endpoint
    names = (otel.traces_exporter or ("otlp" if endpoint else "none")).split(",")
    return tuple(name for name in map(str.strip, names) if name not in ("", "none"))


def otlp_protocol() -> str:
    """The OTLP protocol that OpenTelemetry's standard variables name."""
    otel = _Otel()
    return otel.exporter_otlp_traces_protocol or otel.exporter_otlp_protocol or "http/protobuf"


def find_config(given: Path | None) -> Path | None:
    """The settings file to read, or None. Raises `ConfigError` if the given one does not exist."""
    if given is not None:
        if not given.is_file():
            raise ConfigError(f"settings file {given} not found: --config takes the path of a file such as {FILE_NAME}")
        return given
    candidates = (Path(FILE_NAME), config_home() / "windfall" / FILE_NAME)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def config_home() -> Path:
    """The folder of this user's settings."""
    return _environment().xdg_config_home or Path.home() / ".config"


def state_home() -> Path:
    """The folder of this user's program state, such as logs."""
    return _environment().xdg_state_home or Path.home() / ".local" / "state"


def read_config(path: Path, *, trusted: Path | None = None) -> dict[str, Any]:
    """The tables of a settings file. Raises `ConfigError`; `trusted` is read even if others can write to it."""
    try:
        return tomllib.loads(read_believed(path, trusted=trusted))
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except RecursionError as exc:
        raise ConfigError(f"{path} is not valid TOML: it is nested too deeply") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path} is not valid TOML: {exc}") from exc


def _from_file(redis: str | None, trusted: Path | None) -> str | None:
    """The URL; `@FILE` reads it from a file, which keeps it out of `ps` and the shell's history."""
    if redis is None or not redis.startswith("@"):
        return redis
    path = Path(redis[1:]).expanduser()
    try:
        require_private(path, "the address of Redis")
        url = read_believed(path, trusted=trusted).strip()
    except OSError as exc:
        raise ConfigError(f"cannot read {path}, which {redis} names: {exc.strerror}") from exc
    if not url or len(url.split()) != 1:
        raise ConfigError(f"{path} must contain one URL and nothing else, such as redis://:PASSWORD@HOST:6379")
    return url


def _parsed(path: Path, trusted: Path | None) -> _File:
    tables = read_config(path, trusted=trusted)
    try:
        return _File.model_validate(tables)
    except ValidationError as exc:
        wrong = explain(exc, tables, vocabulary(_File))
        reason = wrong.reason.replace("unknown field", "unknown key")
        raise ConfigError(f"{path}, key {wrong.field!r}: {reason}") from None  # the cause may quote a password


def _environment() -> _Environment:
    try:
        return _Environment()
    except ValidationError as exc:
        error = exc.errors(include_input=False)[0]
        name = "_".join(str(part) for part in error["loc"]).upper()
        raise ConfigError(f"environment variable WINDFALL_{name}: {error['msg']}") from None
