"""Computed prefixes of prompts, within a budget of bytes: mlx-lm's `LRUPromptCache`, adapted."""

from __future__ import annotations

from typing import Any, Final

import mlx.core as mx
from mlx_lm.models.cache import LRUPromptCache

from windfall_worker.engine.scheduler import LEAST_PREFIX

#: mlx-lm's key of a model; an engine has only one.
_MODEL: Final = "model"
#: Bytes are the real limit; mlx-lm's default is 10 entries.
_ENTRIES: Final = 4096


class PrefixCache:
    """Keys and values of prefixes. Only shared prefixes are kept: whole conversations would evict them."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._cache = LRUPromptCache(max_size=_ENTRIES, max_bytes=max_bytes)

    @property
    def nbytes(self) -> int:
        """How many bytes it holds."""
        return int(self._cache.nbytes)

    def fetch(self, prompt: list[int]) -> tuple[list[Any] | None, int]:
        """A cache to start from (a copy for the caller) and how many tokens it holds: never the whole prompt."""
        cache, rest = self._cache.fetch_nearest_cache(_MODEL, prompt[:-1])
        if cache is None:
            return None, 0
        held = len(prompt) - 1 - len(rest)
        if held < LEAST_PREFIX:
            return None, 0
        self._touch(prompt[:held])
        return cache, held

    def store(self, tokens: list[int], cache: list[Any]) -> None:
        """Keep this prefix. It is evaluated first: a lazy slice would keep alive the whole batch it was cut from."""
        mx.eval([layer.state for layer in cache])
        if sum(layer.nbytes for layer in cache) <= self.max_bytes:
            self._cache.insert_cache(_MODEL, tokens, cache, cache_type="system")

    def _touch(self, tokens: list[int]) -> None:
        """Make an entry the newest after a hit: mlx-lm evicts in the order of insertion."""
        order = self._cache._lru  # noqa: SLF001 - it has no method for this
        lru = order._lrus["system"]  # noqa: SLF001
        if (_MODEL, tokens) in lru:
            order.remove(_MODEL, tokens)
            order.push(_MODEL, tokens, "system")
