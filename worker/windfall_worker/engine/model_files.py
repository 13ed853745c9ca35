"""A model reference -> a folder that can be loaded, or one sentence why not.

Checked before anything is loaded, because MLX's messages about broken files are not meant for people, and a truncated
file may go unnoticed until its missing bytes are read.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from windfall.errors import ConfigError
from windfall_worker.demo import MODEL_PATH as DEMO_PATH

_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve_model(reference: str) -> str:
    """`demo`, a folder or a Hugging Face repository (`org/name`) -> what `mlx_lm.load` takes.

    A folder is checked here, a repository after it has been downloaded. Raises `ConfigError`.
    """
    if reference == "demo":
        if not (DEMO_PATH / "config.json").is_file():
            raise ConfigError("the demo model is missing from this installation; reinstall Windfall")
        return str(DEMO_PATH)
    path = Path(reference).expanduser()
    if path.is_dir():
        check_folder(path, reference)
        return str(path.resolve())
    if path.exists():
        raise ConfigError(f"{reference} is a file; give the model's folder, or a Hugging Face name such as org/name")
    if _REPOSITORY.fullmatch(reference):
        return reference
    if "/" in reference or "\\" in reference:
        raise ConfigError(f"{reference}: there is no such folder")
    raise ConfigError(
        f"{reference!r} is neither a folder nor a Hugging Face name such as org/name; 'demo' is the bundled model",
    )


def check_folder(folder: Path, shown: str) -> None:
    """Raise `ConfigError` unless the folder holds a complete model. `shown` is how the user named it."""
    config = folder / "config.json"
    if not config.is_file():
        raise ConfigError(f"{shown} is a folder but not a model: it has no config.json")
    parsed = _json(config, shown)
    if "model_type" not in parsed:
        raise ConfigError(f"{shown}/config.json has no model_type, so it does not describe a model")
    weights = sorted(folder.glob("model*.safetensors"))
    if not weights:
        raise ConfigError(f"{shown} has a config.json but no weights (model*.safetensors)")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named = set(_json(index, shown).get("weight_map", {}).values())
        if missing := sorted(named - {file.name for file in weights}):
            raise ConfigError(f"{shown} lacks {missing[0]}, one of its {len(named)} weight files; download it again")
    for file in weights:
        _check_weights(file, shown)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "tiktoken.model")):
        raise ConfigError(f"{shown} has no tokenizer (tokenizer.json)")


def _json(file: Path, shown: str) -> dict[str, Any]:
    try:
        parsed = json.loads(file.read_bytes())
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{shown}/{file.name} cannot be read as JSON: {exc}") from exc
    if not isinstance(parsed, dict):
        raise ConfigError(f"{shown}/{file.name} is not a JSON object")
    return parsed


def _check_weights(file: Path, shown: str) -> None:
    """Raise `ConfigError` unless the file is complete.

    The format: 8 bytes of header length, the header (JSON with each tensor's offsets), then the tensors; see https://huggingface.co/docs/safetensors#format.
    """
    has, needs = file.stat().st_size, 8
    try:
        with file.open("rb") as stream:
            needs += int.from_bytes(stream.read(8), "little")
            if needs <= has:
                header = json.loads(stream.read(needs - 8)) | {"__metadata__": None}
                needs += max((entry["data_offsets"][1] for entry in header.values() if entry), default=0)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as exc:
        raise ConfigError(f"{shown}/{file.name} is not a safetensors file; copy or download it again") from exc
    if has < needs:
        raise ConfigError(
            f"{shown}/{file.name} is truncated ({has:,} of at least {needs:,} bytes); copy or download it again",
        )
