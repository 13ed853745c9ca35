"""The sides of the engine's benchmarks: Windfall as a whole, mlx-lm's `batch_generate`, and `mlx_lm.server`.

Each has a process of its own, loads the same model before the clock starts, and gets the same requests. Windfall's
clock runs from `enqueue_batch` to the last result read by the producer, through a real Redis and a worker. The server
is asked over HTTP, 32 requests in flight, by a client that is next to nothing: what a client costs is not its fault.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "producer"), str(ROOT / "worker")]

from helpers.models import build_model  # noqa: E402 - found by the line above
from windfall import CompletionRequest, Producer  # noqa: E402
from windfall.embedded.broker import find_redis_server, free_port, redis_server  # noqa: E402
from windfall_worker.engine.protocol import Beat  # noqa: E402

SLOTS = 32  # the width of mlx-lm's batches by default, and of its server's
_NEVER = 1_000_000  # an id that no logits have: every completion is as long as it may be, on every side


def make_model(folder: Path) -> str:
    """About a million random parameters in single precision, for which the end of a text never comes."""
    path = build_model(folder / "model", context=4096, layers=4, width=160)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"eos_token_id": _NEVER}))
    return str(path)


def request(text: str, tokens: int, **options: Any) -> CompletionRequest:
    """One message; greedy unless told otherwise."""
    messages = [{"role": "user", "content": text}]
    body = {"model": "m", "messages": messages, "max_tokens": tokens, "temperature": 0.0, **options}
    return CompletionRequest.model_validate(body)


class Side(Protocol):
    """One of those compared. `warm` happens before the clock starts."""

    async def warm(self, requests: Sequence[CompletionRequest]) -> None: ...

    async def run(self, requests: Sequence[CompletionRequest]) -> int:
        """Complete all; returns the tokens generated."""


def _worker(model: str, url: str, pipe: Connection) -> None:
    """A worker's process. It is asked for the engine's beats since the last time."""
    from windfall_worker.engine.link import EngineLink  # noqa: PLC0415 - loaded by this process alone
    from windfall_worker.main import run_worker  # noqa: PLC0415
    from windfall_worker.settings import ModelSettings, WorkerSettings  # noqa: PLC0415

    beats: deque[Beat] = deque(maxlen=100_000)
    take = EngineLink._take

    def listen(link: EngineLink, message: Any) -> None:
        if isinstance(message, Beat):
            beats.append(message)
        take(link, message)

    # Nothing but a benchmark wants every beat.
    EngineLink._take = listen  # type: ignore[method-assign, assignment]

    async def serve() -> None:
        def answer() -> None:
            try:
                pipe.recv()
            except EOFError:
                os._exit(0)  # nobody measures any more
            pipe.send([beat.model_dump() for beat in beats])
            beats.clear()

        asyncio.get_running_loop().add_reader(pipe.fileno(), answer)
        await run_worker(WorkerSettings(models=(ModelSettings(name="m", mlx=model, slots=SLOTS),)), url)

    asyncio.run(serve())


class Windfall:
    """Redis, a worker with its engine, and a producer in this process."""

    def __init__(self, producer: Producer, pipe: Connection) -> None:
        self._producer, self._pipe = producer, pipe

    @classmethod
    @asynccontextmanager
    async def start(cls, model: str, folder: Path) -> AsyncIterator[Windfall]:
        """All of it, up."""
        server = find_redis_server()
        if server is None:
            raise SystemExit("no redis-server")
        async with redis_server(server, folder) as url, Producer(url) as producer:
            with _process(_worker, model, url) as pipe:
                while not (await producer.fleet()).workers:  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(0.1)
                yield cls(producer, pipe)

    async def warm(self, requests: Sequence[CompletionRequest]) -> None:
        """They are jobs like others."""
        if requests:
            await self.run(requests)

    async def run(self, requests: Sequence[CompletionRequest]) -> int:
        """From the rows to the last result."""
        batch = await self._producer.enqueue_batch(requests)
        results = [result async for result in self._producer.results(batch.id)]
        return sum(result.completion.usage.completion_tokens for result in results if result.completion)

    async def beats(self) -> list[dict[str, Any]]:
        """What the engine said of itself since the last time."""
        self._pipe.send(None)
        return list(await asyncio.to_thread(self._pipe.recv))


def _batches(model: str, chunk: int, pipe: Connection) -> None:
    from mlx_lm import batch_generate, load  # noqa: PLC0415 - loaded by this process alone

    loaded: Any = load(model)
    module, tokenizer = loaded
    pipe.send(None)
    while True:
        conversations, limits = pipe.recv()
        tokens = 0
        for first in range(0, len(conversations), chunk):
            some = slice(first, first + chunk)
            prompts = [tokenizer.apply_chat_template(c, add_generation_prompt=True) for c in conversations[some]]
            answer = batch_generate(module, tokenizer, prompts, max_tokens=limits[some], return_token_ids=True)
            tokens += sum(map(len, answer.token_ids or []))
        pipe.send(tokens)


class BatchGenerate:
    """mlx-lm's own batch generation, greedy; all at once, or in chunks."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    @classmethod
    @asynccontextmanager
    async def start(cls, model: str, chunk: int) -> AsyncIterator[BatchGenerate]:
        """With its model loaded."""
        with _process(_batches, model, chunk) as pipe:
            await asyncio.to_thread(pipe.recv)
            yield cls(pipe)

    async def warm(self, requests: Sequence[CompletionRequest]) -> None:
        """Nothing: it keeps nothing."""

    async def run(self, requests: Sequence[CompletionRequest]) -> int:
        """From messages to texts."""
        conversations = [[{"role": m.role, "content": m.text()} for m in one.messages] for one in requests]
        self._pipe.send((conversations, [one.token_limit for one in requests]))
        return int(await asyncio.to_thread(self._pipe.recv))


class Server:
    """`mlx_lm.server`, asked with as many requests in flight as its batch is wide."""

    def __init__(self, port: int) -> None:
        self._port = port

    @classmethod
    @asynccontextmanager
    async def start(cls, model: str) -> AsyncIterator[Server]:
        """Answering."""
        port = free_port()
        command = [sys.executable, "-m", "mlx_lm.server", "--model", model, "--port", str(port)]
        process = await asyncio.create_subprocess_exec(
            *command, "--log-level", "ERROR", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            server = cls(port)
            while True:
                try:
                    await server._ask(request("hi", 1))
                    break
                except OSError:
                    await asyncio.sleep(0.2)
            yield server
        finally:
            process.kill()
            await process.wait()

    async def warm(self, requests: Sequence[CompletionRequest]) -> None:
        """One after the other, so that each finds what the one before has left."""
        for one in requests:
            await self._ask(one)

    async def run(self, requests: Sequence[CompletionRequest]) -> int:
        """Every request over a connection of its own, as the server (HTTP/1.0) wants it."""
        waiting, tokens = iter(requests), 0

        async def ask() -> int:
            return sum([await self._ask(one) for one in waiting])

        for count in await asyncio.gather(*(ask() for _ in range(SLOTS))):
            tokens += count
        return tokens

    async def _ask(self, one: CompletionRequest) -> int:
        fields = {"messages", "max_tokens", "temperature", "top_p", "seed"}
        body = one.model_dump_json(include=fields, exclude_none=True).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise SystemExit(f"mlx_lm.server: {head!r} {answer[:200]!r}")
        return int(json.loads(answer)["usage"]["completion_tokens"])


@contextmanager
def _process(target: Any, *args: Any) -> Any:
    """A process, and a pipe to it."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(*args, theirs))
    process.start()
    theirs.close()  # so that its end of the pipe ends with it
    try:
        yield ours
    finally:
        process.terminate()
        process.join()


def idle_share(beats: Sequence[dict[str, Any]]) -> float | None:
    """Of the time between the first beat with work and the last: how much the engine spent outside of steps."""
    working = [beat for beat in beats if beat["active"] + beat["waiting"]]
    if len(working) < 2:
        return None
    first, last = working[0], working[-1]
    spent = {name: last[name] - first[name] for name in ("busy", "stalled", "idle")}
    return float((spent["stalled"] + spent["idle"]) / (sum(spent.values()) or 1))


def now() -> float:
    """Seconds."""
    return time.perf_counter()
