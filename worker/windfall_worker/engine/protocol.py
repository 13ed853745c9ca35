"""The frames between the worker and the engine's process.

A frame is four bytes of length (big-endian, not counting themselves) and that many bytes of JSON: one object whose
`type` names its kind. Worker to engine: `load` (first, once), `submit`, `cancel`. Engine to worker: `ready` or
`load_failed` (once), then `delta`, `done`, `failed`, `beat`. Nothing is pickled, and no part of a bad frame is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from windfall.request import CompletionRequest
from windfall.result import Completion
from windfall.shapes import Contract
from windfall_worker.engine.settings import EngineSettings

#: Bytes. No prompt comes near Redis' own limit (512 MB per value), so a greater length is garbage.
MAX_FRAME: Final = 256 * 1024 * 1024

_HEADER: Final = 4


class ProtocolError(Exception):
    """Bytes that are not a frame. `data` holds their beginning."""

    def __init__(self, message: str, data: bytes) -> None:
        super().__init__(message)
        self.data = data[:256]


class Load(Contract):
    """Load this model: the first frame, sent once."""

    type: Literal["load"] = "load"
    model: str
    name: str  #: what completions call the model
    slots: int
    settings: EngineSettings


class Submit(Contract):
    """Complete this request. `follow`: send deltas."""

    type: Literal["submit"] = "submit"
    id: int
    request: CompletionRequest
    follow: bool = False


class Cancel(Contract):
    """Drop this call. It is not answered, although an answer already sent may still arrive."""

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
    needed_bytes: int = 0  #: of the weights and one slot, computed from the model's files


class LoadFailed(Contract):
    """The model cannot be loaded; `message` is a sentence for a person."""

    type: Literal["load_failed"] = "load_failed"
    message: str


class DeltaFrame(Contract):
    """The next piece of a completion, for a call with `follow`."""

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
    """What the engine has done so far, sent several times a second. Counters start with the engine and never decrease.

    `busy` is the time (seconds) spent in steps, `stalled` the time with work but no running step, `idle` the rest.
    `prefill_tokens` were computed; `cached_tokens` were reused from an earlier computation.
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
    """One frame. Raises `ProtocolError` if it would be longer than `MAX_FRAME`."""
    body = message.model_dump_json(exclude_defaults=False).encode()
    if len(body) > MAX_FRAME:
        raise ProtocolError(f"a {message.type} frame has {len(body):,} bytes; the limit is {MAX_FRAME:,}", body)
    return len(body).to_bytes(_HEADER, "big") + body


class Decoder:
    """Splits a stream of bytes into messages. It cannot continue after a `ProtocolError`: frames have no markers."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max_frame = max_frame
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterable[Message]:
        """Add bytes as they arrive; yield each message that they complete."""
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
        # Never the validation error itself: it quotes its input, which holds a prompt.
        raise ProtocolError(f"a frame that is not a message ({exc.error_count()} errors)", body) from None
