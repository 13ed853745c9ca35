"""How much memory a model needs, and what is said of one that needs too much."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import mlx.core as mx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoSibling

from windfall.errors import ConfigError
from windfall_worker.demo import MODEL_PATH
from windfall_worker.engine import loading
from windfall_worker.engine.fitting import device_memory, needed_bytes, remote_bytes, require_fit


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
        ConfigError, match=r"^big needs about 41 GB, this machine gives MLX 27 GB; pick a smaller model"
    ):
        require_fit("big", 41_200_000_000, 27_000_000_000)
    require_fit("big", 27_000_000_000, 27_000_000_000)


def test_metal_says_what_it_recommends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "device_info", lambda: {"max_recommended_working_set_size": 27_000_000_000.0})
    assert device_memory() == 27_000_000_000


def test_without_metal_three_quarters_of_the_memory_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "device_info", dict)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert device_memory() == total * 3 // 4


def test_the_demo_model_is_small() -> None:
    assert 1_000_000 < needed_bytes(MODEL_PATH) < 50_000_000


def hub(*files: tuple[str, int | None]) -> Callable[..., object]:
    """What `HfApi.model_info` answers of a repository with these files."""
    siblings = [RepoSibling(rfilename=name, size=size) for name, size in files]
    return lambda *_, **__: SimpleNamespace(siblings=siblings)


def test_a_repository_too_large_is_refused_before_it_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    files = (
        ("model-1.safetensors", 2 * 10**12),
        ("model-2.safetensors", 10**12),
        ("video.mp4", 10**12),
        ("x.json", None),
    )
    monkeypatch.setattr(HfApi, "model_info", hub(*files))
    assert remote_bytes("org/huge") == 3 * 10**12
    monkeypatch.setattr(loading, "hf_repo_to_path", absent)
    monkeypatch.setattr(loading, "_download_files", pytest.fail)
    with pytest.raises(ConfigError, match=r"^org/huge needs about 3,000 GB"):
        loading._download("org/huge")


def test_a_hub_that_does_not_answer_is_no_reason_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HfApi, "model_info", absent)
    assert remote_bytes("org/name") == 0


def absent(*_: object, **__: object) -> None:
    raise OSError("not here")
