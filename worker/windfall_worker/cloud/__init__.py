"""Cloud APIs behind one client. Names are imported on first use: the command line reads cool-downs without httpx."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from windfall_worker.cloud.anthropic import AnthropicClient
    from windfall_worker.cloud.client import CloudBackendClient
    from windfall_worker.cloud.openai import OpenAIClient
    from windfall_worker.cloud.options import CallOptions

__all__ = ["AnthropicClient", "CallOptions", "CloudBackendClient", "OpenAIClient"]

_HOME: Final = {
    "AnthropicClient": "anthropic",
    "CallOptions": "options",
    "CloudBackendClient": "client",
    "OpenAIClient": "openai",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
