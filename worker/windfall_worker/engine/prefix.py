"""Beginnings of prompts that were computed before, within a budget of bytes: mlx-lm's `LRUPromptCache`, made ours."""

from __future__ import annotations

from typing import Any, Final

import mlx.core as mx
from mlx_lm.models.cache import LRUPromptCache

from windfall_worker.engine.scheduler import LEAST_PREFIX

_MODEL: Final = "model"  # one engine, one model
_ENTRIES: Final = 4096  # the bytes are the limit; mlx-lm's default is 10 entries


class PrefixCache:
    """Keys and values of prefixes. Only shared prefixes are kept: whole conversations would push them out."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._cache = LRUPromptCache(max_size=_ENTRIES, max_bytes=max_bytes)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self._cache.nbytes)

    def fetch(self, prompt: list[int]) -> tuple[list[Any] | None, int]:
        """A cache to start from (a copy, the caller's own) and how many tokens it holds: never the whole prompt."""
        cache, rest = self._cache.fetch_nearest_cache(_MODEL, prompt[:-1])
        if cache is None:
            return None, 0
        held = len(prompt) - 1 - len(rest)
        if held < LEAST_PREFIX:
            return None, 0
        self._touch(prompt[:held])
        return cache, held

    def store(self, tokens: list[int], cache: list[Any]) -> None:
        """Keep this. Evaluated first: a lazy slice would keep the whole batch that it was cut from."""
        mx.eval([layer.state for layer in cache])
        if sum(layer.nbytes for layer in cache) <= self.max_bytes:
            self._cache.insert_cache(_MODEL, tokens, cache, cache_type="system")

    def _touch(self, tokens: list[int]) -> None:
        """mlx-lm evicts in the order of insertion; a hit makes the entry young again."""
        order = self._cache._lru  # noqa: SLF001 - it has no method for this
        lru = order._lrus["system"]  # noqa: SLF001
        if (_MODEL, tokens) in lru:
            order.remove(_MODEL, tokens)
            order.push(_MODEL, tokens, "system")
