"""Which event loop a worker runs on."""

from __future__ import annotations

import asyncio
import sys

import pytest
import uvloop

from windfall.runtime.event_loop import new_event_loop


def test_it_is_uvloops_where_that_is_installed() -> None:
    loop = new_event_loop()
    loop.close()
    assert isinstance(loop, uvloop.Loop)


def test_it_is_asyncios_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_event_loop()
    loop.close()
    assert isinstance(loop, asyncio.SelectorEventLoop)
