"""The environment of our child processes: only what they need, never all of ours with its secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from typing import Final

# Paths of programs and files, the user's session, the locale.
_SYSTEM: Final = (
    r"PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TMP|TEMP|LANG|LANGUAGE|LC_\w+|TZ|XDG_\w+|DBUS_SESSION_BUS_ADDRESS|"
    r"LD_LIBRARY_PATH|LD_PRELOAD|DYLD_\w+|MALLOC_\w+|__CF_USER_TEXT_ENCODING"
)
_SYSTEM_NAME: Final = re.compile(_SYSTEM)
# Settings of Python, MLX and the libraries below it, and the folders of models.
_ENGINE_NAME: Final = re.compile(
    rf"{_SYSTEM}|PYTHON\w+|VIRTUAL_ENV|__PYVENV_LAUNCHER__|(?:MLX|METAL|MTL|MPS|CUDA|NVIDIA|OMP|OPENBLAS|MKL|VECLIB)_\w+|"
    r"(?:HF|HUGGINGFACE|TRANSFORMERS|TOKENIZERS|SAFETENSORS|COV_CORE|COVERAGE)_\w+"
)
# What downloads also need, which may include a token and a proxy's password.
_DOWNLOAD_NAME: Final = re.compile(
    r"HF_TOKEN(?:_PATH)?|HUGGING_FACE_HUB_TOKEN|SSL_CERT_(?:FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|"
    r"(?:HTTPS?|ALL|NO)_PROXY|(?:https?|all|no)_proxy"
)
_SECRET: Final = re.compile(r"KEY|TOKEN(?!IZERS)|SECRET|PASSW|CREDENTIAL|AUTH(?!ORITY)", re.IGNORECASE)


def system_environment() -> dict[str, str]:
    """The environment for system programs and for Redis."""
    return _chosen(_SYSTEM_NAME)


def engine_environment(*, downloads: bool, private: Collection[str] = ()) -> dict[str, str]:
    """The environment for an engine. `downloads`: it may have to fetch its model; `private` names are left out."""
    found = _chosen(_ENGINE_NAME)
    if downloads:
        found |= {name: value for name, value in os.environ.items() if _DOWNLOAD_NAME.fullmatch(name)}
    return {name: value for name, value in found.items() if name not in private}


def forget_download_secrets() -> None:
    """Remove from this process' environment what only downloads need."""
    for name in [name for name in os.environ if _DOWNLOAD_NAME.fullmatch(name)]:
        del os.environ[name]


def _chosen(names: re.Pattern[str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if names.fullmatch(name) and not _SECRET.search(name)}
