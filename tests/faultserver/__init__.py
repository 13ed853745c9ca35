"""An endpoint that fails on command: a real HTTP server in a process of its own, and the handle that tests hold."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote


class FaultServer:
    """Starts the server and tells it what to answer. `server.py` says what a step is."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faultserver.server"],
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def plan(
        self,
        model: str,
        *steps: dict[str, Any],
        then: dict[str, Any] | None = None,
        rates: dict[str, Any] | None = None,
    ) -> None:
        """Answer the next requests for `model` with `steps`, and all after them with `then` (or well).

        `rates` limits their rate; see `rates.py`.
        """
        self._ask("POST", "/__plan", {"model": model, "steps": list(steps), "then": then, "rates": rates})

    def counts(self, model: str) -> dict[str, int]:
        """How many requests for `model` ended how: answered, refused (for the rate), cut, client gone."""
        found: dict[str, int] = self._ask("GET", f"/__counts?model={quote(model)}")
        return found

    def seen(self, model: str) -> list[dict[str, Any]]:
        """Every request for `model` since its plan: at, path, query, headers, body, end, connection."""
        found: list[dict[str, Any]] = self._ask("GET", f"/__seen?model={quote(model)}")
        return found

    def hits(self, model: str) -> int:
        """How many requests came for `model`."""
        return len(self.seen(model))

    def stop(self) -> None:
        """End the process; every connection is closed."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()
