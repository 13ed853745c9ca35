"""A collector of traces, as small as can be: it takes OTLP over HTTP and keeps the spans."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """What came so far: pairs of a service's name and its span."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.posts = 0
        self.spans: list[tuple[str, Span]] = []

    def take(self, path: str, body: bytes) -> None:
        """Keep the spans of one post."""
        assert path == "/v1/traces"
        self.posts += 1
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {each.key: each.value.string_value for each in group.resource.attributes}
            self.spans += [(names["service.name"], span) for scope in group.scope_spans for span in scope.spans]

    def named(self, beginning: str) -> list[tuple[str, Span]]:
        """The spans whose names begin so."""
        return [(service, span) for service, span in self.spans if span.name.startswith(beginning)]


@contextmanager
def collector() -> Iterator[Collector]:
    """One that listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.take(self.path, gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
