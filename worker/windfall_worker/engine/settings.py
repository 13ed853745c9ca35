"""The settings of an engine, as one value object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from windfall.errors import ConfigError

#: Tokens that a completion may have if its request does not say, as far as the context leaves room.
DEFAULT_MAX_TOKENS: Final = 2048


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How an engine uses its machine. Every value is checked here, once; a bad one raises `ConfigError`.

    `context_length` (tokens) can shorten the model's own context, but not lengthen it. `kv_bytes` is the memory for
    keys and values of running sequences, `prefix_bytes` that for shared prefixes; None derives them from the device's
    memory, of which `memory_share` (0 to 1) belongs to this engine. `others_bytes` is the least that other engines
    need of it: a model that does not fit beside them is refused. `default_max_tokens` applies to requests that set no
    limit. `step_timeout` (seconds): an engine that holds calls and makes no step for that long is killed and restarted.
    `prefill_step` is how many prompt tokens of one sequence a step computes at most, `prefill_tokens` that of all
    sequences together: a step must end well within `step_timeout` on the slowest machine, and decoding waits for it.
    `close_timeout` (seconds) is how long a closing engine has before it is killed.
    """

    context_length: int | None = None
    kv_bytes: int | None = None
    prefix_bytes: int | None = None
    memory_share: float = 1.0
    others_bytes: int = 0
    default_max_tokens: int = DEFAULT_MAX_TOKENS
    step_timeout: float = 30.0
    prefill_step: int = 512
    prefill_tokens: int = 4096
    close_timeout: float = 5.0

    def __post_init__(self) -> None:
        for name in ("context_length", "kv_bytes", "default_max_tokens", "prefill_step", "prefill_tokens"):
            self._positive(name)
        for name in ("step_timeout", "close_timeout", "memory_share"):
            self._positive(name)
        if self.prefix_bytes is not None and self.prefix_bytes < 0:
            raise ConfigError(
                f"engine setting prefix_bytes is {self.prefix_bytes}; it must be at least 0, which turns it off"
            )

    def _positive(self, name: str) -> None:
        value = getattr(self, name)
        if value is not None and not value > 0:
            raise ConfigError(f"engine setting {name} is {value}; it must be greater than 0")
