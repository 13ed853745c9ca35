"""Notices when a backend that took no calls takes some again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from windfall_worker.backends.routing import ModelBackends

#: Seconds between two looks at what is not available.
_LOOK: Final = 2.0


async def watch_backends(backends: Mapping[str, ModelBackends], on_change: Callable[[], None]) -> None:
    """Look until cancelled; `on_change` is called when one is available again. Those that are cost nothing."""
    watched = [guarded.backend for served_by in backends.values() for guarded in served_by.cloud]
    while True:
        away = [backend for backend in watched if backend.waits or not backend.available]
        for backend in away:
            await backend.refresh()
        if any(backend.available and not backend.waits for backend in away):
            on_change()
        await asyncio.sleep(_LOOK)
