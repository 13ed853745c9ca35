"""Webhooks are signed, tried again where that may help, and say nothing of prompts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from windfall.cli.notices import STALLED_AFTER, Notices, Stall, post
from windfall.errors import ConfigError

KEY = b"0123456789abcdef"
FACTS = {"batch": "abc", "total": 3}


class Receiver(HTTPServer):
    """Answers with these statuses, one after the other, and keeps what it got."""

    def __init__(self, statuses: list[int]) -> None:
        self.statuses = statuses
        self.got: list[tuple[dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(server.statuses.pop(0))
        self.send_header("location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDFALL_WEBHOOK_SECRET", f"whsec_{base64.b64encode(KEY).decode()}")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver([503, 200]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_it_is_signed_as_standard_webhooks_are_and_tried_again_under_the_same_id(receiver: Receiver) -> None:
    waited: list[float] = []
    assert post(receiver.url, "batch.ended", FACTS, (1.0, 5.0), waited.append) == ""
    assert waited == [1.0]
    (first, _), (headers, body) = receiver.got
    assert first["webhook-id"] == headers["webhook-id"]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    message = json.loads(body)
    assert (message["type"], message["data"]) == ("batch.ended", FACTS)


@pytest.mark.parametrize("status", [302, 400, 404])
def test_what_another_try_cannot_mend_is_not_tried_again_nor_redirected(receiver: Receiver, status: int) -> None:
    receiver.statuses[:] = [status]
    assert post(receiver.url, "batch.ended", FACTS) == f"it answered {status}"
    assert len(receiver.got) == 1


def test_where_nobody_listens_it_is_given_up_with_the_reason() -> None:
    waited: list[float] = []
    assert "refused" in post("http://127.0.0.1:9/", "batch.ended", FACTS, (0.5, 1.0), waited.append)
    assert waited == [0.5, 1.0]


@pytest.mark.parametrize("url", ["ftp://example.com", "example.com", "file:///etc/passwd", "http://"])
def test_what_is_no_http_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="--webhook needs an address"):
        Notices(webhook=url)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "plain text", "whsec_!!!!"])
def test_without_a_secret_nothing_is_sent(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv("WINDFALL_WEBHOOK_SECRET", secret)
    with pytest.raises(ConfigError, match="a webhook is signed: set WINDFALL_WEBHOOK_SECRET"):
        Notices(webhook="https://example.com")


def test_a_stall_is_told_once_and_a_pause_is_none() -> None:
    stall = Stall()
    assert not stall.begins(5, 0.0, paused=False)
    assert not stall.begins(5, STALLED_AFTER - 1, paused=False)
    assert stall.begins(5, STALLED_AFTER, paused=False)
    assert not stall.begins(5, STALLED_AFTER + 1, paused=False)
    assert not stall.begins(6, STALLED_AFTER + 2, paused=False)
    assert not stall.begins(6, 2 * STALLED_AFTER + 3, paused=True)
    assert not stall.begins(6, 2 * STALLED_AFTER + 4, paused=False)
