"""The HTTP server of the metrics: prometheus_client's, with limits on connections and on how long each may last.

prometheus_client starts a thread for every connection and lets it wait indefinitely, so a client that opens a thousand
connections and sends nothing ties up a thousand threads of the worker.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client.exposition import ThreadingWSGIServer, make_wsgi_app

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

#: How many connections are served at once; Prometheus needs one. Another one closes the oldest.
CONNECTIONS: Final = 8
#: Seconds that a connection may last, whatever is sent over it.
SECONDS: Final = 10.0


class BoundedServer(ThreadingWSGIServer):
    """Serves a few connections at a time, each for a short while."""

    connections = CONNECTIONS
    seconds = SECONDS
    request_queue_size = 16

    def __init__(self, *args: Any, **more: Any) -> None:
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__(*args, **more)

    @property
    def held(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread; one too many closes the oldest, so that a scrape always gets in."""
        with self._lock:
            while len(self._open) >= self.connections:
                oldest = next(iter(self._open))
                del self._open[oldest]
                _end(oldest)
            self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that is done."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called twice a second: close what lasts too long. Its thread then reads an end of file."""
        with self._lock:
            for request, since in list(self._open.items()):
                if time.monotonic() - since >= self.seconds:
                    del self._open[request]
                    _end(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: a scraper that went away is not worth a line."""


class _Silent(WSGIRequestHandler):
    timeout = SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Log nothing."""


@contextmanager
def served(host: str, port: int, registry: CollectorRegistry) -> Iterator[BoundedServer]:
    """Serve on a thread of its own; stopping it takes half a second. Raises `OSError`."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    kind: type[BoundedServer] = type("Server", (BoundedServer,), {"address_family": family})
    server: BoundedServer = make_server(str(address[0]), port, make_wsgi_app(registry), kind, handler_class=_Silent)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def _end(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)
