"""The entry point of the engine's process: `python -m windfall_worker.engine.child FD`; FD is its end of the pipe.

The process ends when its pipe closes, so an engine never outlives its worker, however that ends. Signals meant for the
worker (Ctrl-C goes to the whole terminal, SIGTERM often to the whole group) are ignored: the worker drains, then closes
the pipe.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from windfall.config.child_environment import forget_download_secrets
from windfall.errors import BackendError, ConfigError, RequestRejected
from windfall.telemetry.tracebacks import without_words
from windfall_worker.engine.protocol import (
    Cancel,
    Decoder,
    Failed,
    Load,
    LoadFailed,
    Message,
    ProtocolError,
    Submit,
    encode,
)

if TYPE_CHECKING:
    from windfall_worker.engine.intake import Intake
    from windfall_worker.engine.runner import Arrivals
    from windfall_worker.engine.sequence import Sequence

logger = logging.getLogger("windfall.engine")

#: Bytes read from the pipe at once.
_READ: Final = 1 << 18
#: Seconds that the first request of a burst waits for the others, at most.
_BURST: Final = 0.02
#: Seconds without a message that end a burst.
_SILENCE: Final = 0.002
#: Seconds between thread switches; with Python's 5 ms a tokenising thread would delay every step.
_SWITCH: Final = 0.0005


def main() -> None:
    """Load what the first frame names, then serve until the pipe closes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="engine: %(message)s")
    sys.setswitchinterval(_SWITCH)
    pipe = socket.socket(fileno=int(sys.argv[1]))
    messages = _messages(pipe)
    order = next(messages)
    if not isinstance(order, Load):
        raise SystemExit("engine: the first frame is not a load frame")
    outbox = Outbox(pipe)
    # Keep reading while the model loads, so that the process ends at once if the worker does.
    inbox: SimpleQueue[Message] = SimpleQueue()
    threading.Thread(target=_forward, args=(messages, inbox.put), daemon=True).start()
    _serve(order, inbox, outbox)


def _serve(order: Load, inbox: SimpleQueue[Message], outbox: Outbox) -> None:
    # MLX is imported here and not above: that takes a second, during which signals would not be ignored yet.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from windfall_worker.engine.intake import Intake, Limits  # noqa: PLC0415
    from windfall_worker.engine.loading import load_model  # noqa: PLC0415
    from windfall_worker.engine.runner import Runner  # noqa: PLC0415

    try:
        model = load_model(order)
    except ConfigError as exc:
        outbox.send(LoadFailed(message=str(exc)))
        outbox.flush()
        os._exit(1)
    forget_download_secrets()
    limits = Limits(model.context_length, model.vocab_size, model.room, order.settings.default_max_tokens)
    arrivals: Arrivals = SimpleQueue()
    intake = Intake(model.tokenizer, limits)
    threading.Thread(target=_prepare, args=(intake, inbox, arrivals, outbox.send), daemon=True).start()
    outbox.send(model.ready())
    try:
        Runner(model, arrivals, outbox.send).run()
    finally:
        # The other threads would keep the process alive, and its worker waiting, although nothing generates any more.
        logging.shutdown()
        os._exit(70)


def _messages(pipe: socket.socket) -> Iterator[Message]:
    """The worker's messages; when the pipe closes the process ends, whatever else it is doing."""
    decoder = Decoder()
    while True:
        try:
            data = pipe.recv(_READ)
            if not data:
                os._exit(0)
            yield from decoder.feed(data)
        except OSError:
            os._exit(0)
        except ProtocolError as exc:
            # No traceback: it would show the frame, which holds a prompt.
            logger.error("%s", exc)  # noqa: TRY400 - see above
            os._exit(76)


def _forward(messages: Iterator[Message], put: Callable[[Message], None]) -> None:
    for message in messages:
        put(message)


def _prepare(intake: Intake, inbox: SimpleQueue[Message], arrivals: Arrivals, send: Callable[[Message], None]) -> None:
    """Turn requests into sequences, in order; refusals are answered from here.

    The requests of one burst are handed on together: a shared prefix is found only among requests that are compared.
    """
    while True:
        burst: list[Sequence | Cancel] = []
        message: Message | None = inbox.get()
        until: float | None = None
        while message is not None:
            if isinstance(message, Cancel):
                burst.append(message)
            elif isinstance(message, Submit) and (sequence := _prepared(intake, message, send)):
                burst.append(sequence)
            # Counted from here, because the very first request includes compiling the template.
            until = until or time.monotonic() + _BURST
            message = _next(inbox, _SILENCE) if time.monotonic() < until else None
        arrivals.put(burst)


def _prepared(intake: Intake, submit: Submit, send: Callable[[Message], None]) -> Sequence | None:
    try:
        return intake.prepare(submit)
    except BackendError as exc:
        send(Failed(id=submit.id, kind=exc.kind, message=str(exc)))
    except Exception as exc:  # noqa: BLE001 - a thread that died would leave every later call waiting
        logger.error("a request could not be prepared\n%s", without_words(exc))  # noqa: TRY400 - it may quote the prompt
        # Preparing is deterministic: what failed once fails again, so another try is pointless.
        text = f"the engine cannot prepare this request: {type(exc).__name__}"
        send(Failed(id=submit.id, kind=RequestRejected.type, message=text))
    return None


def _next(inbox: SimpleQueue[Message], within: float) -> Message | None:
    try:
        return inbox.get(timeout=within)
    except Empty:
        return None


class Outbox:
    """Frames on their way to the worker. A thread writes them in groups, so that no step waits for the reader."""

    def __init__(self, pipe: socket.socket) -> None:
        self._pipe = pipe
        self._queue: SimpleQueue[Message | threading.Event] = SimpleQueue()
        self.send: Callable[[Message], None] = self._queue.put
        threading.Thread(target=self._write, daemon=True).start()

    def flush(self) -> None:
        """Wait until everything sent so far has been written."""
        written = threading.Event()
        self._queue.put(written)
        written.wait(5)

    def _write(self) -> None:
        while True:
            waiting = [self._queue.get()]
            with contextlib.suppress(Empty):
                while True:
                    waiting.append(self._queue.get_nowait())
            try:
                self._pipe.sendall(b"".join(encode(item) for item in waiting if not isinstance(item, threading.Event)))
            except OSError:
                os._exit(0)  # the worker is gone
            for item in waiting:
                if isinstance(item, threading.Event):
                    item.set()


if __name__ == "__main__":
    main()
