"""One engine process as the worker sees it: its pipe, the calls it holds, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar, cast

import windfall_worker
from windfall import errors
from windfall.config.child_environment import engine_environment
from windfall.errors import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    ContextLengthExceeded,
    EngineDied,
    MalformedRequest,
    RequestRejected,
    UnsupportedParameter,
)
from windfall.request import CompletionRequest
from windfall.result import Completion, Delta
from windfall_worker.engine.protocol import (
    Beat,
    Cancel,
    Decoder,
    DeltaFrame,
    Done,
    Failed,
    Load,
    LoadFailed,
    Message,
    ProtocolError,
    Ready,
    Submit,
    encode,
)
from windfall_worker.engine.words import Words

logger = logging.getLogger("windfall.engine")

_ERRORS: Final[dict[str, type[BackendError]]] = {
    error.type: error
    for error in (
        RequestRejected,
        ContextLengthExceeded,
        MalformedRequest,
        UnsupportedParameter,
        BackendUnavailable,
        EngineDied,
    )
}

#: Seconds to wait for what an ended process has left in its pipes.
_LAST_WORDS: Final = 2.0
#: Beats over which the token rate is measured: about two seconds.
_RATE_BEATS: Final = 10

OnDelta = Callable[[Delta], None]

_T = TypeVar("_T")


@dataclass(slots=True)
class _Held:
    completion: asyncio.Future[Completion]
    on_delta: OnDelta | None


class EngineLink(asyncio.Protocol):
    """A running engine process, created by `launch`; `loaded` is done when it can take calls.

    `progressed` is the loop's time of the last sign of work: a step, or any frame about a call.
    """

    def __init__(self, process: asyncio.subprocess.Process, order: Load, words: Words) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._ids = itertools.count(1)
        self._calls: dict[int, _Held] = {}
        self._reason: str | None = None
        self._closed = asyncio.Event()
        self._process = process
        self._order = order
        self._words = words
        self.loaded: asyncio.Future[Ready] = loop.create_future()
        self.beat = Beat()
        self._generated: deque[tuple[float, int]] = deque(maxlen=_RATE_BEATS)
        self.progressed = loop.time()

    @classmethod
    async def launch(cls, order: Load, private: Collection[str] = ()) -> Self:
        """Start a process and tell it what to load. Its environment is what it needs, without what is `private`."""
        words = await Words.listen()
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)  # noqa: FBT003 - socket's signature
            try:
                # -P: otherwise a file named mlx.py in the working folder would be imported as mlx.
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",
                    "-m",
                    "windfall_worker.engine.child",
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=words.file,  # whatever a library prints is for the log
                    stderr=words.file,
                    pass_fds=(theirs.fileno(),),
                    env=_environment(private, downloads=not Path(order.model).is_dir()),
                    start_new_session=True,  # Ctrl-C is for the worker, which drains
                )
            except BaseException:
                ours.close()
                words.close()
                raise
            finally:
                os.close(words.file)
        _, link = await asyncio.get_running_loop().create_connection(lambda: cls(process, order, words), sock=ours)
        return link

    @property
    def pid(self) -> int:
        """The process' id."""
        return self._process.pid

    @property
    def held(self) -> int:
        """How many calls the process holds."""
        return len(self._calls)

    @property
    def tokens_per_second(self) -> float:
        """Tokens generated per second, over the last few beats."""
        if len(self._generated) < 2:
            return 0.0
        (then, before), (now, after) = self._generated[0], self._generated[-1]
        return (after - before) / (now - then) if now > then else 0.0

    async def complete(self, request: CompletionRequest, on_delta: OnDelta | None) -> Completion:
        """Complete one request. Raises `BackendError`; a cancelled caller cancels the sequence."""
        call = next(self._ids)
        held = self._calls[call] = _Held(self._loop.create_future(), on_delta)
        if len(self._calls) == 1:
            self.touch()
        try:
            self._send(Submit(id=call, request=request, follow=on_delta is not None))
            return await held.completion
        finally:
            # An answered call is no longer held; one that still is was cancelled by its caller.
            if self._calls.pop(call, None):
                self._send(Cancel(id=call))

    def touch(self) -> None:
        """Note that work was seen just now."""
        self.progressed = self._loop.time()

    def kill(self, reason: str) -> None:
        """Kill the process; `reason` completes a sentence that begins "the engine"."""
        self._reason = self._reason or reason
        if self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> str:
        """Wait until the process is gone. Returns why, to complete a sentence that begins "the engine"."""
        code = await self._process.wait()
        # Its last frames may still be in the pipe: why it could not load, or a completion.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self._closed.wait()
                await self._words.ended.wait()
        self.hang_up()
        self._words.close()
        return self._reason or _how_it_ended(code)

    def hang_up(self) -> None:
        """Close the pipe; the process then ends by itself."""
        if self._transport is not None:
            self._transport.close()

    def fail_calls(self, error: BackendError) -> None:
        """Fail every call that the process holds."""
        for held in self._calls.values():
            if not held.completion.done():
                held.completion.set_exception(error)
                held.completion.exception()  # its caller may be gone
        self._calls.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio: the pipe is open."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no instances of it
        self._send(self._order)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: bytes arrived."""
        try:
            for message in self._decoder.feed(data):
                self._take(message)
        except ProtocolError as exc:
            self.kill(f"sent {exc}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio: the pipe is closed. An engine without a pipe is useless."""
        del exc
        self._closed.set()
        if self._process.returncode is None:
            self._loop.call_later(1, self._kill_if_alive)

    def _kill_if_alive(self) -> None:
        if self._process.returncode is None:
            self.kill("closed its pipe")

    def _take(self, message: Message) -> None:
        match message:
            case Beat():
                if message.step != self.beat.step:
                    self.touch()
                self.beat = message
                self._generated.append((self._loop.time(), message.generated_tokens))
            case DeltaFrame():
                self.touch()
                self._pass_on(message)
            case Done():
                self.touch()
                if held := self._calls.pop(message.id, None):
                    _settle(held.completion, message.completion)
            case Failed():
                self.touch()
                if held := self._calls.pop(message.id, None):
                    error = _ERRORS.get(message.kind, BackendUnavailable)
                    _settle(held.completion, error(message.message, type=message.kind))
            case Ready():
                _settle(self.loaded, message)
            case LoadFailed():
                _settle(self.loaded, ConfigError(message.message))
            case _:
                raise ProtocolError(f"a {message.type} frame, which only a worker sends", b"")

    def _pass_on(self, message: DeltaFrame) -> None:
        held = self._calls.get(message.id)
        if held is None or held.on_delta is None:
            return
        try:
            held.on_delta(Delta(content=message.content, reasoning=message.reasoning))
        except Exception:
            logger.exception("the callback for a completion's deltas failed; it gets no more of them")
            held.on_delta = None

    def _send(self, message: Message) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(message))


def _settle(future: asyncio.Future[_T], outcome: _T | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = "; Metal aborts a process that runs out of memory" if -code == signal.SIGABRT else ""
    return f"was killed by signal {-code} ({name}{hint})"


def _environment(private: Collection[str], *, downloads: bool) -> dict[str, str]:
    """What an engine needs from our environment, with our own packages importable however this program was started."""
    roots = [str(Path(module.__file__ or "").parent.parent) for module in (errors, windfall_worker)]
    known = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([*dict.fromkeys(roots), *([known] if known else [])])
    ours = engine_environment(downloads=downloads, private=private)
    return {**ours, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
