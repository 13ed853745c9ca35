"""Loads a folder or repository as a model that is ready to use, with what the engine must know about it."""

# mypy: disable-error-code="no-untyped-call"
# mlx-lm is only partly typed.

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import _download as _download_files  # what its load() does before it loads
from mlx_lm.utils import hf_repo_to_path, load

from windfall.errors import ConfigError
from windfall_worker.engine.fitting import device_memory, needed_bytes, remote_bytes, require_fit
from windfall_worker.engine.model_files import check_folder
from windfall_worker.engine.processor import PREFILL_STEP, suit_processor
from windfall_worker.engine.protocol import Load, Ready
from windfall_worker.engine.settings import EngineSettings

#: Tokens for which mlx-lm's caches allocate at a time.
_CACHE_STEP: Final = 256
#: The fewest bytes for keys and values.
_LEAST_KV: Final = 64 * 1024 * 1024
#: Tokens of context for a model that does not name its own.
_NO_LIMIT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model. `room` is how many tokens of keys and values fit into its memory."""

    module: Any
    tokenizer: Any
    name: str
    slots: int
    settings: EngineSettings
    context_length: int
    vocab_size: int
    kv_bytes_per_token: int
    kv_bytes: int
    prefix_bytes: int
    needed_bytes: int

    @property
    def room(self) -> int:
        """Tokens over all rows of the batch, in whole steps of mlx-lm's caches."""
        return self.kv_bytes // self.kv_bytes_per_token // _CACHE_STEP * _CACHE_STEP

    def ready(self) -> Ready:
        """The frame that reports the model to the worker."""
        return Ready(
            context_length=self.context_length,
            vocab_size=self.vocab_size,
            kv_bytes_per_token=self.kv_bytes_per_token,
            kv_bytes=self.kv_bytes,
            prefix_bytes=self.prefix_bytes,
            needed_bytes=self.needed_bytes,
        )


def load_model(order: Load) -> Model:
    """Load, check, warm up and measure. Raises `ConfigError` with one sentence."""
    module, tokenizer, config, needed = _load(order)
    settings = order.settings
    if mx.default_device() == mx.cpu:
        suit_processor(module)
        settings = replace(settings, prefill_step=min(settings.prefill_step, PREFILL_STEP))
    caches = make_prompt_cache(module)
    if not all(hasattr(cache, "merge") for cache in caches):
        raise ConfigError(f"{order.name}: mlx-lm cannot batch models of type {config.get('model_type')!r} yet")
    logits = module(mx.array([[0]]), cache=caches)
    mx.eval(logits)
    per_token = max(1, sum(cache.nbytes for cache in caches) // _CACHE_STEP)
    kv_bytes, prefix_bytes = _budgets(order.settings, per_token)
    return Model(
        module=module,
        tokenizer=tokenizer,
        name=order.name,
        slots=order.slots,
        settings=settings,
        context_length=_context_length(config, tokenizer, order.settings),
        vocab_size=logits.shape[-1],
        kv_bytes_per_token=per_token,
        kv_bytes=kv_bytes,
        prefix_bytes=prefix_bytes,
        needed_bytes=needed,
    )


def _load(order: Load) -> tuple[Any, Any, dict[str, Any], int]:
    folder, others = Path(order.model), order.settings.others_bytes
    try:
        if not folder.is_dir():
            folder = _download(order.model, others)
            check_folder(folder, order.model)
        needed = needed_bytes(folder, widened=mx.default_device() == mx.cpu)
        require_fit(order.name, needed, device_memory(), others)
        loaded: Any = load(str(folder), return_config=True)
    except ConfigError:
        raise
    except Exception as exc:
        raise ConfigError(f"{order.name} cannot be loaded: {_one_line(exc)}") from exc
    module, tokenizer, config = loaded
    return module, tokenizer, config, needed


def _download(repository: str, others: int = 0) -> Path:
    """The repository's files, from the local cache if they are complete there."""
    # Not in the cache, or incomplete: many exceptions say so.
    with contextlib.suppress(Exception):
        return Path(hf_repo_to_path(repository))
    # Checked before tens of gigabytes are downloaded for nothing.
    require_fit(repository, remote_bytes(repository), device_memory(), others)
    try:
        return Path(_download_files(repository))
    except Exception as exc:
        raise ConfigError(
            f"{repository} is not in the local Hugging Face cache and cannot be downloaded: {_why_no_download(exc)}",
        ) from exc


def _why_no_download(exc: Exception) -> str:
    name = type(exc).__name__
    if name in ("RepositoryNotFoundError", "HfHubHTTPError", "GatedRepoError", "RevisionNotFoundError"):
        return "there is no such repository, or it is private or gated; check the name"
    return "Hugging Face cannot be reached; check the network, or give a local folder"


def _one_line(exc: Exception) -> str:
    text = " ".join(str(exc).split())
    return f"{text[:300] or type(exc).__name__}"


def _context_length(config: dict[str, Any], tokenizer: Any, settings: EngineSettings) -> int:
    text = config.get("text_config") or {}
    known = [
        value
        for value in (
            config.get("max_position_embeddings") or text.get("max_position_embeddings"),
            getattr(tokenizer, "model_max_length", None),
            settings.context_length,
        )
        if isinstance(value, int) and 0 < value < 1 << 40  # transformers writes 10**30 for "unknown"
    ]
    return min(known, default=_NO_LIMIT)


def _budgets(settings: EngineSettings, per_token: int) -> tuple[int, int]:
    """Bytes for running sequences and for cached prefixes.

    Together they get half of what is left of this engine's share of the device, because mlx-lm copies keys and values
    when sequences join and leave; prefixes get an eighth of that half.
    """
    share = int(device_memory() * min(1.0, settings.memory_share))
    left = max(_LEAST_KV, (share - mx.get_active_memory()) // 2)
    prefix = left // 8 if settings.prefix_bytes is None else settings.prefix_bytes
    kv = max(left - prefix, _LEAST_KV) if settings.kv_bytes is None else settings.kv_bytes
    if kv < per_token * _CACHE_STEP:
        raise ConfigError(
            f"the memory for keys and values ({kv:,} bytes) holds fewer than {_CACHE_STEP} tokens "
            f"at {per_token:,} bytes per token"
        )
    return kv, prefix
