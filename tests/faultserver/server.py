"""A real HTTP server that answers as it is told, per model name; started by `FaultServer`.

Control:

    POST /__plan   {"model": M, "steps": [STEP, ...], "then": STEP, "rates": RATES}
                                    the next answers for M, and those after them; its rate limits (see rates.py)
    GET  /__seen?model=M            what came for M so far
    GET  /__counts?model=M          how many requests for M ended how

A STEP is an object, and every key is optional; an empty one is a good answer in the shape of the path:

    status, headers, json, text     the answer; `text` is sent as it is
    content                         the text of a completion in the shape of the path
    delay                           seconds before anything is answered
    cut                             "before" the answer, after the "headers", in the middle of the "body"
    letters, coding                 so many letters, gzipped; what its content-encoding says
    drip                            seconds between the bytes of the body, each of which is sent alone
    raw                             bytes (latin-1) to send in place of HTTP, then close
    events, event_delay, split      blocks of a stream; seconds between them; bytes per write
    stop_after                      close the connection after so many blocks of a stream
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from faultserver import shapes
from faultserver.rates import Rates

Step = dict[str, Any]


@dataclass
class Plan:
    """What to answer for one model, and what was asked."""

    steps: list[Step] = field(default_factory=list)
    then: Step = field(default_factory=dict)
    seen: list[dict[str, Any]] = field(default_factory=list)
    rates: Rates | None = None

    def next(self) -> Step:
        """The step for the next request."""
        return self.steps.pop(0) if self.steps else self.then


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: dict[str, Any]


class ClientGone(Exception):
    """The client closed the connection before it had its answer."""


#: The first byte of a client that thinks that this is https.
TLS_HANDSHAKE = b"\x16"
PLANS: dict[str, Plan] = {}


async def read_request(reader: asyncio.StreamReader) -> Asked | None:
    """The next request on a connection; None when there is none."""
    try:
        begin = await reader.readexactly(1)
        if begin == TLS_HANDSHAKE:
            return None
        head = (begin + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.strip().split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    raw = await reader.readexactly(int(headers.get("content-length", 0)))
    method, target, _ = first.split(" ")
    url = urlsplit(target)
    return Asked(method, url.path, parse_qs(url.query), headers, json.loads(raw) if raw else {})


def control(asked: Asked) -> Any:
    """Answer a request to one of the control addresses."""
    if asked.path == "/__plan":
        rates = Rates(asked.body["rates"]) if asked.body.get("rates") else None
        steps, then = asked.body.get("steps", []), asked.body.get("then") or {}
        PLANS[asked.body["model"]] = Plan(steps, then, rates=rates)
        return {}
    (model,) = asked.query["model"]
    if asked.path == "/__counts":
        return Counter(str(entry["end"]) for entry in PLANS[model].seen)
    return PLANS[model].seen if model in PLANS else []


def head(status: int, headers: dict[str, str]) -> bytes:
    """The status line and the headers."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def wait(reader: asyncio.StreamReader, seconds: float) -> None:
    """Wait, unless the client goes away."""
    try:
        data = await asyncio.wait_for(reader.read(1), seconds)
    except TimeoutError:
        return
    if not data:
        raise ClientGone


async def play(step: Step, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer as the step says. Returns whether the connection lives on."""
    if step.get("delay"):
        await wait(reader, step["delay"])
    if step.get("cut") == "before":
        return False
    if "raw" in step:
        writer.write(step["raw"].encode("latin-1"))
        await writer.drain()
        return False
    status = step.get("status", 200)
    plain = "json" in step or "text" in step or status != HTTPStatus.OK
    if "events" in step or (asked.body.get("stream") and not plain):
        return await play_stream(step, asked, reader, writer)
    return await play_body(step, asked, reader, writer)


async def play_body(step: Step, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer with one body."""
    status = step.get("status", 200)
    more: Step = {}
    if "text" in step:
        body = step["text"].encode()
    elif "letters" in step:
        body, more = gzip.compress(b"x" * step["letters"]), {"content-encoding": step.get("coding", "gzip")}
    else:
        good = shapes.answer(asked.path, asked.body, step.get("content", "a good answer"))
        bad = {"error": {"message": f"planned {status}", "type": "planned"}}
        body = json.dumps(step.get("json", good if status == HTTPStatus.OK else bad)).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "x-request-id": "req-fault"}
    writer.write(head(status, headers | more | step.get("headers", {})))
    for byte in body if "drip" in step else b"":
        writer.write(bytes([byte]))
        await wait(reader, step["drip"])
    if "drip" in step:
        return True
    cut = step.get("cut")
    if cut != "headers":
        writer.write(body[: len(body) // 2] if cut == "body" else body)
    await writer.drain()
    return cut is None


async def play_stream(step: Step, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer with server-sent events."""
    headers = {"content-type": "text/event-stream", "transfer-encoding": "chunked", "x-request-id": "req-fault"}
    writer.write(head(200, headers | step.get("headers", {})))
    blocks = step.get("events") or shapes.events(asked.path, asked.body, step.get("content", "a good answer"))
    stop_after = step.get("stop_after")
    for number, block in enumerate(blocks):
        if number == stop_after:
            return False
        if number and step.get("event_delay"):
            await wait(reader, step["event_delay"])
        raw = block.encode()
        size = step.get("split") or len(raw)
        for at in range(0, len(raw), size):
            part = raw[at : at + size]
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            await writer.drain()
            if size < len(raw):
                await asyncio.sleep(0)
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    alive = True
    try:
        while alive and (asked := await read_request(reader)):
            if asked.path.startswith("/__"):
                body = json.dumps(control(asked)).encode()
                writer.write(head(200, {"content-type": "application/json", "content-length": str(len(body))}) + body)
                await writer.drain()
                continue
            plan = PLANS.setdefault(asked.body.get("model", ""), Plan())
            entry = {"at": time.time(), "path": asked.path, "headers": asked.headers, "body": asked.body, "end": None}
            entry["query"] = asked.query
            entry["connection"] = writer.get_extra_info("peername")[1]
            plan.seen.append(entry)
            headers, refusal = plan.rates.refusal(asked.body) if plan.rates else ({}, None)
            step: dict[str, Any] = {"status": 429, "json": refusal} if refusal else plan.next()
            try:
                alive = await play(step | {"headers": headers | step.get("headers", {})}, asked, reader, writer)
                entry["end"] = "refused" if refusal else "answered" if alive else "cut"
            except (ClientGone, ConnectionError):
                entry["end"] = "client gone"
                alive = False
    finally:
        writer.close()


async def main() -> None:
    """Serve until killed; the port goes to standard output."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
