"""Whoever connects to the metrics' port and says nothing takes no more than a few threads, for a few seconds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from helpers.scraping import scrape_now
from helpers.waiting import until
from windfall.embedded.broker import free_port
from windfall_worker.metrics import server
from windfall_worker.metrics.server import BoundedServer, served


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def running(port: int) -> Iterator[BoundedServer]:
    registry = CollectorRegistry()
    Counter("scraped", "A number to scrape.", registry=registry).inc()
    with served("127.0.0.1", port, registry) as found:
        yield found


def threads() -> int:
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def test_idle_connections_have_a_bound_and_a_scrape_gets_in(running: BoundedServer, port: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
    assert scrape_now(port)("scraped_total") == 1
    until(lambda: threads() <= server.CONNECTIONS)
    assert running.held <= server.CONNECTIONS
    for each in idle:
        each.close()
    until(lambda: running.held == 0)


def test_a_connection_ends_after_a_while_whatever_comes_over_it(running: BoundedServer, port: int) -> None:
    running.seconds = 0.0
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.settimeout(60)
        slow.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        assert slow.recv(1) == b"", "it was ended from the other side"
    until(lambda: threads() == 0)
