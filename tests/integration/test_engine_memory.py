"""How much memory MLX may use here, and models that are too large for it before anything of them is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace

import mlx.core as mx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoSibling

from windfall.errors import ConfigError
from windfall_worker.demo import MODEL_PATH
from windfall_worker.engine import loading
from windfall_worker.engine.fitting import device_memory, needed_bytes, remote_bytes
from windfall_worker.engine.protocol import Load
from windfall_worker.engine.settings import EngineSettings


def test_metal_says_what_it_recommends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "device_info", lambda: {"max_recommended_working_set_size": 27_000_000_000.0})
    assert device_memory() == 27_000_000_000


def test_without_metal_three_quarters_of_the_memory_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "device_info", dict)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert device_memory() == total * 3 // 4


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
    with pytest.raises(ConfigError, match=r"^org/huge needs about 2,794 GiB"):
        loading._download("org/huge")


def test_a_hub_that_does_not_answer_is_no_reason_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HfApi, "model_info", absent)
    assert remote_bytes("org/name") == 0


def absent(*_: object, **__: object) -> None:
    raise OSError("not here")


def test_a_model_is_loaded_where_it_fits_beside_the_others_and_refused_where_it_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needed = needed_bytes(MODEL_PATH, widened=mx.default_device() == mx.cpu)
    monkeypatch.setattr(loading, "device_memory", lambda: 1_000_000_000)

    def load(others: int) -> int:
        settings = EngineSettings(others_bytes=others)
        return loading.load_model(Load(model=str(MODEL_PATH), name="demo", slots=1, settings=settings)).needed_bytes

    assert load(1_000_000_000 - needed) == needed
    with pytest.raises(ConfigError, match=r"^demo needs about .* beside the 9[0-9][0-9] MiB of the models before it"):
        load(1_000_000_001 - needed)
