"""What a worker runs, and how: validated value objects, built at the entry point and handed down."""

from __future__ import annotations

import os
import secrets
import socket
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from windfall.errors import ConfigError
from windfall.limits import MAX_ROW_BYTES
from windfall.request import ModelName
from windfall_worker.citizen.settings import CitizenSettings

_frozen = ConfigDict(frozen=True, extra="forbid")

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SpillWhen(StrEnum):
    """When jobs of the route `auto` may go to the cloud mappings of a worker that has no engine for them."""

    NO_MAC = "no-mac"  #: while no live Mac serves their model
    BACKLOG = "backlog"  #: also while they wait for long, however many Macs serve it


class BreakerSettings(BaseModel):
    """When a provider's circuit breaker opens, and when it may be tried again. Times are in seconds.

    It opens after `fail_max` failures in a row, or when `failure_rate` of the calls that ended within `window` failed
    and these were at least `min_calls`.
    """

    model_config = _frozen

    fail_max: int = Field(default=5, ge=1)
    failure_rate: float = Field(default=0.5, gt=0, le=1)
    min_calls: int = Field(default=20, ge=1)
    window: Seconds = 30.0
    reset_timeout: Seconds = 30.0


class ProviderSettings(BaseModel):
    """A cloud API. `openai` and `anthropic` are built in; any other OpenAI-compatible server can be added."""

    model_config = _frozen

    protocol: Literal["openai", "anthropic"]
    base_url: str = Field(pattern=r"^https?://[^\s/]+")
    api_key_env: str | None = None  #: the environment variable that holds the key; None for a server without keys
    timeout: Seconds = 600.0  #: until an answer begins, and until a stream's next word
    silence: Seconds = 60.0  #: without a byte of a stream that has begun
    call_timeout: Seconds = 3600.0  #: for a whole call, resends included
    stream: bool = True  #: whether answers are asked for as streams, as far as the API has them
    max_retries: int = Field(default=3, ge=0, le=10)
    backoff_factor: float = Field(default=0.5, ge=0)
    concurrency: int = Field(default=64, ge=1, le=4096)
    breaker: BreakerSettings = BreakerSettings()
    rpm: int | None = Field(default=None, ge=1)  #: requests a minute that all workers with this key may make, per model
    tpm: int | None = Field(default=None, ge=1)  #: tokens a minute, prompts and completions together

    def api_key(self) -> SecretStr:
        """The key from the environment. Raises `ConfigError`, naming the variable."""
        if self.api_key_env is None:
            return SecretStr("")
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise ConfigError(
                f"the environment variable {self.api_key_env} is not set: set it to the key for {self.base_url}"
            )
        return SecretStr(key)


BUILT_IN: dict[str, ProviderSettings] = {
    "openai": ProviderSettings(protocol="openai", base_url="https://api.openai.com/v1", api_key_env="OPENAI_API_KEY"),
    "anthropic": ProviderSettings(
        protocol="anthropic", base_url="https://api.anthropic.com/v1", api_key_env="ANTHROPIC_API_KEY"
    ),
}


class ModelSettings(BaseModel):
    """One model name and what completes it here."""

    model_config = _frozen

    name: ModelName
    mlx: str | None = None  #: a folder, a Hugging Face repository, or `demo`
    simulate: float | None = Field(default=None, ge=0)  #: seconds that a simulated answer takes
    slots: int = Field(default=32, ge=1, le=4096)  #: jobs that run at once on this machine
    cloud: tuple[Annotated[str, Field(pattern=r"^[^:\s]+:\S+$")], ...] = ()  #: `provider:model`, in order

    @property
    def local(self) -> bool:
        """Whether this machine completes it itself."""
        return self.mlx is not None or self.simulate is not None

    def mappings(self) -> list[tuple[str, str]]:
        """The cloud mappings as (provider, model)."""
        return [(provider, model) for provider, _, model in (text.partition(":") for text in self.cloud)]


class WorkerSettings(CitizenSettings):
    """A worker. All times are in seconds."""

    models: tuple[ModelSettings, ...] = Field(min_length=1)
    providers: dict[str, ProviderSettings] = Field(
        default_factory=dict
    )  #: in addition to the built-in ones, or in their place
    lease: float = Field(default=10.0, ge=1.0)  #: how long a claim lasts without a renewal
    drain_timeout: float = Field(default=30.0, ge=0)  #: how long a draining worker lets jobs keep running
    spill: SpillWhen = SpillWhen.NO_MAC
    #: how long no Mac has served the model (or, with a spill of `backlog`, how long the next job has waited)
    spill_after: float = Field(default=60.0, ge=0, allow_inf_nan=False)
    keep: float = Field(default=7 * 86400.0, ge=0)  #: how long the results of jobs without a batch are kept
    max_tries: int = Field(default=5, ge=1)  #: attempts that may fail on one backend before the job fails
    max_deliveries: int = Field(default=3, ge=1)  #: claims that may end without an outcome before the job fails
    max_row_bytes: int = Field(default=MAX_ROW_BYTES, gt=0)  #: larger jobs fail without being read
    name: str | None = None
    metrics_port: int = Field(
        default=0, ge=0, le=65535
    )  #: the port on which Prometheus finds the metrics; 0 turns them off
    metrics_host: str = "127.0.0.1"  #: the address of this machine on which they are served
    log_format: Literal["auto", "human", "json"] = "auto"  #: auto is JSON unless the log goes to a terminal
    log_level: Literal["debug", "info", "warning", "error"] = "warning"

    @model_validator(mode="after")
    def _mappings_name_providers(self) -> Self:
        for model in self.models:
            if not model.local and not model.cloud:
                raise ValueError(f"model {model.name!r} has nothing that completes it: set its mlx or cloud")
            for provider, _ in model.mappings():
                if provider not in self.providers and provider not in BUILT_IN:
                    known = ", ".join(sorted({*self.providers, *BUILT_IN}))
                    raise ValueError(
                        f"model {model.name!r} names the unknown provider {provider!r}; there are: {known}"
                    )
        return self

    def provider(self, name: str) -> ProviderSettings:
        """The settings of a provider; those in the file win over the built-in ones."""
        return self.providers.get(name) or BUILT_IN[name]

    def paid(self, model: ModelSettings) -> tuple[str, ...]:
        """The cloud mappings of a model that somebody bills: those whose provider wants a key."""
        return tuple(f"{name}:{target}" for name, target in model.mappings() if self.provider(name).api_key_env)

    @property
    def renewal(self) -> float:
        """Seconds between lease renewals: short enough that two may fail before the lease expires."""
        return 0.3 * self.lease

    def new_worker_id(self) -> str:
        """A unique id that a person can recognise."""
        host = self.name or socket.gethostname().removesuffix(".local")
        clean = "".join(c if c.isalnum() or c in "-_." else "-" for c in host) or "worker"
        return f"{clean}-{os.getpid()}-{secrets.token_hex(3)}"
