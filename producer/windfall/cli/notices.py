"""Telling people that a batch has ended, or stalls: a desktop notification, or a signed webhook.

A webhook follows https://www.standardwebhooks.com: `webhook-id`, `webhook-timestamp` and `webhook-signature`, made with
the secret in WINDFALL_WEBHOOK_SECRET. Its body has counts, never a prompt or an answer.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from windfall.batch import BatchStatus
from windfall.cli.screen.console import note
from windfall.errors import ConfigError, WindfallError
from windfall.producer import Producer
from windfall.runtime.tasks import cancel_all

_SECRET: Final = "WINDFALL_WEBHOOK_SECRET"  # noqa: S105 - the name of the variable that holds it
_PREFIX: Final = "whsec_"
#: Seconds before the second and each later try, and seconds that one may take.
_PAUSES: Final = (1.0, 5.0, 30.0)
_LIMIT: Final = 10.0
#: Seconds without a row that ends after which a batch stalls, and seconds between two looks.
STALLED_AFTER: Final = 600.0
_LOOK: Final = 15.0


@dataclass(frozen=True, slots=True)
class Notices:
    """Whom to tell. Raises `ConfigError` for a webhook that is not an HTTP address, or has no secret to sign with."""

    desktop: bool = False
    webhook: str | None = None

    def __post_init__(self) -> None:
        if self.webhook is not None:
            parts = urlsplit(self.webhook)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ConfigError(f"--webhook needs an address such as https://example.com/hook, not {self.webhook!r}")
            _key()

    def __bool__(self) -> bool:
        return self.desktop or self.webhook is not None

    def tell(self, event: str, text: str, facts: Mapping[str, Any]) -> None:
        """Tell of an event. A failure is noted on stderr, and is not an error: the work is done."""
        if self.desktop:
            _show("Windfall", text)
        if self.webhook is not None:
            problem = post(self.webhook, event, facts)
            if problem:
                note(f"warning: the webhook was not told that {text}: {problem}")

    def batch_ended(self, found: BatchStatus) -> None:
        """Tell that a batch has ended."""
        if self:
            good = f"{found.completed:,} of {found.total:,} rows completed"
            self.tell("batch.ended", f"batch {found.id} has ended: {good}", _facts(found))


#: Nobody is told.
NOBODY: Final = Notices()


def post(
    url: str,
    event: str,
    facts: Mapping[str, Any],
    pauses: tuple[float, ...] = _PAUSES,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Send an event, and again after each pause while that may help; returns why it failed, or nothing."""
    name = f"msg_{secrets.token_hex(12)}"
    body = json.dumps({"type": event, "timestamp": _now(), "data": facts}).encode()
    problem = ""
    for pause in (*pauses, None):
        problem, again = _post_once(url, name, body)
        if not problem or not again or pause is None:
            break
        sleep(pause)
    return problem


def signature(key: bytes, name: str, timestamp: int, body: bytes) -> str:
    """The signature of a webhook's body."""
    signed = hmac.new(key, f"{name}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def _post_once(url: str, name: str, body: bytes) -> tuple[str, bool]:
    timestamp = int(time.time())
    headers = {
        "content-type": "application/json",
        "user-agent": "windfall",
        "webhook-id": name,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(_key(), name, timestamp, body),
    }
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - http and https alone: see Notices
    try:
        with _opener().open(request, timeout=_LIMIT):
            return "", False
    except urllib.error.HTTPError as exc:
        exc.close()
        return f"it answered {exc.code}", exc.code >= 500 or exc.code in {408, 429}
    except (OSError, HTTPException) as exc:
        reason = getattr(exc, "reason", None) or exc
        return str(reason), True


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Facts about batches go to the address that was given, and to no other."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirects)


def _key() -> bytes:
    secret = os.environ.get(_SECRET, "")
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True) if secret.startswith(_PREFIX) else b""
    except binascii.Error:
        key = b""
    if len(key) < 16:
        raise ConfigError(
            f"a webhook is signed: set {_SECRET} to {_PREFIX} and at least 16 bytes in base64, such as "
            f'"{_PREFIX}$(openssl rand -base64 24)", here and where the webhook is checked'
        )
    return key


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _facts(found: BatchStatus) -> dict[str, Any]:
    counts = {
        name: getattr(found, name) for name in ("completed", "failed", "cancelled", "expired", "queued", "running")
    }
    return {"batch": found.id, "total": found.total, **counts, "seconds": round(found.now - found.created_at, 1)}


@asynccontextmanager
async def told_of_stalls(producer: Producer, batch_id: str, notices: Notices) -> AsyncIterator[None]:
    """While the body runs, tell when no row of the batch has ended for ten minutes, though it is not paused.

    The producer is connected, and the body uses it, too.
    """
    if not notices:
        yield
        return
    task = asyncio.create_task(_look_for_stalls(producer, batch_id, notices))
    try:
        yield
    finally:
        await cancel_all([task])


async def _look_for_stalls(producer: Producer, batch_id: str, notices: Notices) -> None:
    stall = Stall()
    while True:
        with suppress(WindfallError):  # the command itself says what is wrong
            found = await producer.batch(batch_id)
            if stall.begins(found.finished, time.monotonic(), paused=found.paused):
                text = f"no row of batch {batch_id} has ended for {STALLED_AFTER / 60:.0f} minutes"
                await asyncio.to_thread(notices.tell, "batch.stalled", text, _facts(found))
        await asyncio.sleep(_LOOK)


class Stall:
    """Notices that a number has stayed the same for too long."""

    def __init__(self) -> None:
        self._finished = -1
        self._since = 0.0
        self._told = False

    def begins(self, finished: int, now: float, *, paused: bool) -> bool:
        """Whether it is to be told now, once for each stall. `now` is in seconds, on any clock."""
        if finished != self._finished or paused:
            self._finished, self._since, self._told = finished, now, False
        elif not self._told and now - self._since >= STALLED_AFTER:
            self._told = True
            return True
        return False


def _show(title: str, text: str) -> None:
    """A notification on the desktop, where there is one."""
    for command in _desktop_commands(title, text):
        if shutil.which(command[0]):
            subprocess.run(command, check=False, capture_output=True, timeout=_LIMIT)  # noqa: S603 - ours
            return
    note("warning: there is no notify-send here to show a notification with; install libnotify")


def _desktop_commands(title: str, text: str) -> Iterator[list[str]]:
    if sys.platform == "darwin":
        script = "on run {title, message}\ndisplay notification message with title title\nend run"
        yield ["osascript", "-e", script, title, text]
    yield ["notify-send", "--app-name=windfall", title, text]
