"""Fixtures to import where they are wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from faultserver import FaultServer


@pytest.fixture(scope="session")
def fault_server() -> Iterator[FaultServer]:
    """A fault server; each test should use a model name of its own."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """A model name that no other test uses."""
    name: str = request.node.name
    return name


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a condition. Fails when it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.01)
