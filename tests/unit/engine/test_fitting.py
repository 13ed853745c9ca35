"""How much memory a model needs, and what is said of one that needs too much."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from windfall.errors import ConfigError
from windfall_worker.demo import MODEL_PATH
from windfall_worker.engine.fitting import needed_bytes, require_fit


def model(folder: Path, files: dict[str, dict[str, tuple[str, int]]], **config: object) -> Path:
    """A folder whose weight files have these tensors: name -> (dtype, bytes); the tensors themselves are left out."""
    for name, tensors in files.items():
        header: dict[str, object] = {"__metadata__": {"format": "mlx"}}
        at = 0
        for tensor, (dtype, size) in tensors.items():
            header[tensor] = {"dtype": dtype, "shape": [1], "data_offsets": [at, at + size]}
            at += size
        data = json.dumps(header).encode()
        (folder / name).write_bytes(len(data).to_bytes(8, "little") + data)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


FILES = {
    "model-00001-of-00002.safetensors": {"a": ("U32", 1000), "b": ("BF16", 200)},
    "model-00002-of-00002.safetensors": {"c": ("F32", 30)},
    "adapters.safetensors": {"d": ("F32", 7_000_000)},
}
QWEN3_4B = {
    "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    "max_position_embeddings": 40960,
}  # fmt: skip


def test_all_weight_files_count_and_nothing_else(tmp_path: Path) -> None:
    assert needed_bytes(model(tmp_path, FILES)) == 1230


def test_half_precision_counts_twice_where_it_is_widened(tmp_path: Path) -> None:
    assert needed_bytes(model(tmp_path, FILES), widened=True) == 1430


@pytest.mark.parametrize("config", [QWEN3_4B, {"text_config": QWEN3_4B}])
def test_one_slot_of_keys_and_values_counts(tmp_path: Path, config: dict[str, object]) -> None:
    # 144 KiB a token, as every calculator has it for Qwen3-4B, and 4,096 tokens.
    assert needed_bytes(model(tmp_path, {}, **config)) == 144 * 1024 * 4096


def test_a_model_too_large_is_refused_with_both_sizes() -> None:
    with pytest.raises(
        ConfigError, match=r"^big needs about 38 GiB, this machine gives MLX 25 GiB; pick a smaller model"
    ):
        require_fit("big", 41_200_000_000, 27_000_000_000)
    require_fit("big", 27_000_000_000, 27_000_000_000)


def test_a_model_that_fits_alone_and_not_beside_the_others_is_refused_with_all_sizes() -> None:
    with pytest.raises(
        ConfigError,
        match=r"^big needs about 15 GiB beside the 13 GiB of the models before it, this machine gives MLX 25 GiB",
    ):
        require_fit("big", 16_000_000_000, 27_000_000_000, 14_000_000_000)
    require_fit("big", 16_000_000_000, 27_000_000_000, 11_000_000_000)


def test_the_demo_model_is_small() -> None:
    assert 1_000_000 < needed_bytes(MODEL_PATH) < 50_000_000
