"""Whether a model fits into this machine's memory, determined from its files before any of it is loaded.

Metal does not refuse what is too large: it swaps until the Mac grinds to a halt, or kills the process.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from windfall.errors import ConfigError

#: Tokens of one slot: a prompt and an answer of typical length.
_TOKENS: Final = 4096
_WEIGHTS: Final = "model*.safetensors"
#: Seconds that Hugging Face has to answer.
_ANSWER_WITHIN: Final = 10.0
_HALF: Final = ("F16", "BF16")
_MIB: Final = 2**20
_GIB: Final = 2**30


def needed_bytes(folder: Path, *, widened: bool = False) -> int:
    """Bytes of the weights, plus the keys and values of one slot. `widened`: half precision is loaded as single."""
    config = json.loads((folder / "config.json").read_bytes())
    weights = sum(_weights(file, widened=widened) for file in folder.glob(_WEIGHTS))
    return weights + _slot({**config, **(config.get("text_config") or {})}, widened=widened)


def remote_bytes(repository: str) -> int:
    """Bytes of the weights at Hugging Face; 0 if it does not say, or cannot be reached."""
    from huggingface_hub import HfApi  # noqa: PLC0415 - comes with MLX

    with contextlib.suppress(Exception):  # the failing download will say why
        files = HfApi().model_info(repository, files_metadata=True, timeout=_ANSWER_WITHIN).siblings or ()
        return sum(file.size or 0 for file in files if fnmatch(file.rfilename, _WEIGHTS))
    return 0


def require_fit(name: str, needed: int, available: int, others: int = 0) -> None:
    """Raise `ConfigError`, with all sizes, if the model does not fit into what MLX may use beside `others`."""
    if needed + others > available:
        beside = f" beside the {in_gib(others)} of the models before it" if others else ""
        raise ConfigError(
            f"{name} needs about {in_gib(needed)}{beside}, this machine gives MLX {in_gib(available)}; "
            "pick a smaller model, or the same with fewer bits"
        )


def device_memory() -> int:
    """Bytes that MLX may use: what Metal recommends, otherwise three quarters of the machine's memory."""
    import mlx.core as mx  # noqa: PLC0415 - `windfall doctor` imports this module too

    recommended = mx.device_info().get("max_recommended_working_set_size")
    if recommended:
        return int(recommended)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4


def in_gib(size: int) -> str:
    """A number of bytes for people, in the unit of the doctor and the fleet page."""
    if size < _GIB:
        return f"{size / _MIB:,.0f} MiB"
    return f"{size / _GIB:,.0f} GiB" if size >= 10 * _GIB else f"{size / _GIB:,.1f} GiB"


def _weights(file: Path, *, widened: bool) -> int:
    """Bytes of a file's tensors; `model_files` describes the format."""
    with file.open("rb") as stream:
        header: dict[str, Any] = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    return sum(
        (entry["data_offsets"][1] - entry["data_offsets"][0]) * (2 if widened and entry["dtype"] in _HALF else 1)
        for entry in tensors
    )


def _slot(config: Mapping[str, Any], *, widened: bool) -> int:
    """Bytes of one slot: two vectors per token, layer and head; 0 if the configuration uses other names."""
    heads = config.get("num_attention_heads") or 0
    width = config.get("head_dim") or (config.get("hidden_size") or 0) // max(1, heads)
    kept = config.get("num_key_value_heads") or heads
    tokens = min(_TOKENS, config.get("max_position_embeddings") or _TOKENS)
    return int(2 * tokens * (config.get("num_hidden_layers") or 0) * kept * width * (4 if widened else 2))
