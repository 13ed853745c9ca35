"""What can be said of a model before it is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from windfall.errors import ConfigError
from windfall_worker.engine.model_files import resolve_model
from windfall_worker.engine.settings import EngineSettings


def folder(path: Path, *, size: int = 16, body: int = 16) -> Path:
    header = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    (path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * body)
    (path / "config.json").write_text('{"model_type": "qwen3"}')
    (path / "tokenizer.json").write_text("{}")
    return path


def test_a_whole_folder_resolves_to_itself(tmp_path: Path) -> None:
    assert resolve_model(str(folder(tmp_path))) == str(tmp_path.resolve())


def test_a_repository_is_left_as_it_is() -> None:
    assert resolve_model("mlx-community/Qwen3-4B-4bit") == "mlx-community/Qwen3-4B-4bit"


@pytest.mark.parametrize("reference", ["", "qwen", "./nowhere", "/no/where", "a/b/c", "org/", "org/na me"])
def test_what_is_neither_is_refused(reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        resolve_model(reference)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        resolve_model(str(tmp_path / "model"))


@pytest.mark.parametrize("gone", ["config.json", "model.safetensors", "tokenizer.json"])
def test_each_missing_part_is_named(tmp_path: Path, gone: str) -> None:
    (folder(tmp_path) / gone).unlink()
    with pytest.raises(ConfigError, match=r"config\.json|weights|tokenizer"):
        resolve_model(str(tmp_path))


def test_weights_cut_short_are_named_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"truncated \([\d,]+ of at least [\d,]+ bytes\)"):
        resolve_model(str(folder(tmp_path, body=15)))


@pytest.mark.parametrize("data", [b"", b"\1", b"\xff" * 64, b"\2\0\0\0\0\0\0\0{]", b"\2\0\0\0\0\0\0\0[]"])
def test_weights_that_are_none_are_named(tmp_path: Path, data: bytes) -> None:
    (folder(tmp_path) / "model.safetensors").write_bytes(data)
    with pytest.raises(ConfigError, match=r"model\.safetensors"):
        resolve_model(str(tmp_path))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder(tmp_path) / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ConfigError, match="lacks model-00002-of-00002"):
        resolve_model(str(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model": 1}'])
def test_a_configuration_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (folder(tmp_path) / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json"):
        resolve_model(str(tmp_path))


@pytest.mark.parametrize(
    "setting", [{"step_timeout": 0}, {"kv_bytes": 0}, {"prefill_step": -1}, {"prefix_bytes": -1}, {"context_length": 0}]
)
def test_a_setting_that_cannot_be_is_refused_by_name(setting: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        EngineSettings(**setting)
