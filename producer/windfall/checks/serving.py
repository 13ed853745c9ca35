"""What a worker on this machine would serve: its settings, its models and their sizes, its keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from windfall.checks.finding import Finding
from windfall.errors import ConfigError

if TYPE_CHECKING:
    from windfall_worker.settings import ModelSettings, ProviderSettings, WorkerSettings


def check_serving(found: WorkerSettings, keys: Mapping[str, SecretStr]) -> Iterator[Finding]:
    """What `windfall worker` would report about these settings at startup. `keys` are those in the service's file."""
    yield Finding(ok=True, what=f"windfall.toml serves {', '.join(model.name for model in found.models)}")
    for name in sorted({provider for model in found.models for provider, _ in model.mappings()}):
        yield _provider(name, found.provider(name), keys)
    sizes = []
    for model in found.models:
        if model.mlx is not None:
            size, finding = _model(model)
            sizes.append(size)
            yield finding
    if sizes and all(sizes) and find_spec("mlx"):
        yield _memory(sum(sizes), len(sizes))


def _provider(name: str, provider: ProviderSettings, keys: Mapping[str, SecretStr]) -> Finding:
    variable = provider.api_key_env
    if variable is not None and variable in keys and keys[variable].get_secret_value().strip():
        return Finding(ok=True, what=f"provider {name}: {provider.base_url}, with the key in the service's file")
    try:
        provider.api_key()
    except ConfigError as exc:
        return Finding(ok=False, what=f"provider {name}: {exc}", mend=f"export {variable}=…")
    key = f"the key in {variable}" if variable else "no key"
    return Finding(ok=True, what=f"provider {name}: {provider.base_url}, with {key}")


def _model(model: ModelSettings) -> tuple[int, Finding]:
    """Its size in bytes (0 if unknown), and the finding."""
    from windfall_worker.engine.fitting import in_gib, needed_bytes  # noqa: PLC0415 - an extra
    from windfall_worker.engine.model_files import check_folder, resolve_model  # noqa: PLC0415 - an extra

    path = str(model.mlx)
    try:
        resolved = Path(resolve_model(path))
        folder = resolved if resolved.is_dir() else _cached(str(resolved))
        if folder is None:
            what = f"model {model.name}: {path} is a repository, downloaded when first used"
            return 0, Finding(ok=True, what=what)
        check_folder(folder, path)
    except ConfigError as exc:
        return 0, Finding(ok=False, what=f"model {model.name}: {exc}", mend="correct it in windfall.toml")
    size = needed_bytes(folder)
    kind = "a folder" if folder == resolved else "downloaded"
    return size, Finding(ok=True, what=f"model {model.name}: {path} is {kind}, and needs about {in_gib(size)}")


def _cached(repository: str) -> Path | None:
    """The folder of a downloaded repository; None if it was not downloaded completely."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - an extra

    try:
        return Path(
            snapshot_download(repository, local_files_only=True, allow_patterns=["*.json", "model*.safetensors"])
        )
    except Exception:  # noqa: BLE001 - it has many ways to fail
        return None


def _memory(needed: int, models: int) -> Finding:
    from windfall_worker.engine.fitting import device_memory, in_gib  # noqa: PLC0415 - an extra

    available = device_memory()
    which = "the model needs" if models == 1 else f"the {models} models together need"
    return Finding(
        ok=needed <= available,
        what=f"{which} about {in_gib(needed)}, this machine gives MLX {in_gib(available)}",
        mend="choose smaller models, or the same ones quantized to fewer bits",
    )
