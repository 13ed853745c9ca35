"""The frames between the worker and the engine's process.

A frame is four bytes of length (big-endian, without themselves) and that many bytes of JSON: one object whose `type`
names its kind. Worker to engine: `load` (first, once), `submit`, `cancel`. Engine to worker: `ready` or `load_failed`
(once), then `delta`, `done`, `failed`, `beat`. Nothing is pickled, and nothing of a bad frame is acted upon.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from windfall.request import CompletionRequest, Contract
from windfall.result import Completion
from windfall_worker.engine.settings import EngineSettings

MAX_FRAME: Final = 256 * 1024 * 1024
"""Bytes. A request near Redis' own limit (512 MB a value) is no prompt; a length beyond this is garbage."""

_HEADER: Final = 4


class ProtocolError(Exception):
    """Bytes that are no frame. `data` holds their beginning."""

    def __init__(self, message: str, data: bytes) -> None:
        super().__init__(message)
        self.data = data[:256]


class Load(Contract):
    """Load this model; the first frame, and sent once."""

    type: Literal["load"] = "load"
    model: str
    name: str  #: what completions call the model
    slots: int
    settings: EngineSettings


class Submit(Contract):
    """Complete this request. `follow`: somebody wants the deltas."""

    type: Literal["submit"] = "submit"
    id: int
    request: CompletionRequest
    follow: bool = False


class Cancel(Contract):
    """Nobody waits for this call any more. No answer comes; one that is under way may still arrive."""

    type: Literal["cancel"] = "cancel"
    id: int


class Ready(Contract):
    """The model is loaded. Lengths are in tokens, memory in bytes."""

    type: Literal["ready"] = "ready"
    context_length: int
    vocab_size: int
    kv_bytes_per_token: int
    kv_bytes: int
    prefix_bytes: int
    needed_bytes: int = 0  #: weights and one slot, known from the model's files


class LoadFailed(Contract):
    """The model cannot be loaded; `message` is a sentence for a person."""

    type: Literal["load_failed"] = "load_failed"
    message: str


class DeltaFrame(Contract):
    """The next piece of a call that is followed."""

    type: Literal["delta"] = "delta"
    id: int
    content: str = ""
    reasoning: str = ""


class Done(Contract):
    """The call's completion."""

    type: Literal["done"] = "done"
    id: int
    completion: Completion


class Failed(Contract):
    """The call ended without one. `kind` is the `type` of an error in `windfall.errors`."""

    type: Literal["failed"] = "failed"
    id: int
    kind: str
    message: str


class Beat(Contract):
    """What the engine did so far, several times a second. Counters count from its start and never go down.

    `busy` is the time (seconds) spent in steps, `stalled` that in which there was work but no step ran, `idle` the
    rest. `prefill_tokens` were computed, `cached_tokens` were taken from an earlier computation instead.
    """

    type: Literal["beat"] = "beat"
    step: int = 0
    active: int = 0
    waiting: int = 0
    free_slots: int = 0
    memory: int = 0  #: bytes that MLX holds
    generated_tokens: int = 0
    prefill_tokens: int = 0
    cached_tokens: int = 0
    busy: float = 0.0
    stalled: float = 0.0
    idle: float = 0.0


Message = Load | Submit | Cancel | Ready | LoadFailed | DeltaFrame | Done | Failed | Beat

_ADAPTER: Final[TypeAdapter[Message]] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def encode(message: Message) -> bytes:
    """One frame. Raises `ProtocolError` where it would be longer than `MAX_FRAME`."""
    body = message.model_dump_json(exclude_defaults=False).encode()
    if len(body) > MAX_FRAME:
        raise ProtocolError(f"a {message.type} frame of {len(body):,} bytes; at most {MAX_FRAME:,} are sent", body)
    return len(body).to_bytes(_HEADER, "big") + body


class Decoder:
    """Cuts a stream of bytes into messages. After a `ProtocolError` it is of no more use: frames have no marks."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max_frame = max_frame
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterable[Message]:
        """Take bytes as they come; yield each message that they complete."""
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= _HEADER:
                length = int.from_bytes(self._buffer[start : start + _HEADER], "big")
                if length > self._max_frame:
                    raise ProtocolError(f"a frame claims {length:,} bytes", bytes(self._buffer[start : start + 64]))
                if len(self._buffer) - start - _HEADER < length:
                    return
                body = bytes(self._buffer[start + _HEADER : start + _HEADER + length])
                start += _HEADER + length
                yield _parse(body)
        finally:
            del self._buffer[:start]


def _parse(body: bytes) -> Message:
    try:
        return _ADAPTER.validate_json(body)
    except ValidationError as exc:
        # Never the validation error itself: it quotes its input, and that is a prompt.
        raise ProtocolError(f"a frame that is no message ({exc.error_count()} errors)", body) from None
