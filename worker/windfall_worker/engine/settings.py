"""What can be set about an engine, as one value object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from windfall.errors import ConfigError

DEFAULT_MAX_TOKENS: Final = 2048
"""Tokens that a completion may have where its request does not say, and the context leaves room."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How an engine uses its machine. Every value is checked here, once; a bad one raises `ConfigError`.

    `context_length` (tokens) shortens the model's own context; it cannot lengthen it. `kv_bytes` is the memory for
    keys and values of the sequences that run, `prefix_bytes` that for shared beginnings of prompts; where they are
    None they are derived from the device's memory, of which `memory_share` (0 to 1) is this engine's. `others_bytes` is
    what other engines need of it at the least: a model that does not fit beside them is refused.
    `default_max_tokens` applies to requests that name no limit.
    `step_timeout` (seconds): an engine that holds calls and makes no step for so long is killed and started again.
    `prefill_step` is how many prompt tokens of one sequence one step computes at most, `prefill_tokens` of all
    together: a step must be over well within `step_timeout` on the slowest machine, and who decodes waits for it.
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
            raise ConfigError(f"engine setting prefix_bytes is {self.prefix_bytes}; 0 turns it off, less is nothing")

    def _positive(self, name: str) -> None:
        value = getattr(self, name)
        if value is not None and not value > 0:
            raise ConfigError(f"engine setting {name} is {value}; it must be more than 0")
