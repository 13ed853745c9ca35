"""Frames between worker and engine that are almost right: a `ProtocolError` or a message, never anything else."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.fuzzing import anything, changed, paths
from helpers.requests import request
from windfall.result import Completion
from windfall_worker.engine.protocol import Beat, Decoder, Done, Message, ProtocolError, Submit, encode

FRAMES: list[Message] = [
    Submit(id=1, request=request("hi", stop=("a",)), follow=True),
    Done(id=1, completion=Completion(content="x")),
    Beat(step=4, busy=0.5),
]
BODIES = [json.loads(encode(frame)[4:]) for frame in FRAMES]
almost = st.sampled_from(BODIES).flatmap(
    lambda body: st.builds(lambda at, new: changed(body, at, new), st.sampled_from(paths(body)), anything)
)


def framed(body: object) -> bytes:
    data = json.dumps(body).encode()
    return len(data).to_bytes(4, "big") + data


@given(almost)
@settings(max_examples=400)
def test_a_frame_with_something_else_in_one_place_is_read_or_refused(body: object) -> None:
    with contextlib.suppress(ProtocolError):
        for message in Decoder().feed(framed(body)):
            encode(message)


@given(st.sampled_from(FRAMES), st.data())
def test_a_frame_with_one_wrong_byte_is_read_refused_or_waited_for(frame: Message, data: st.DataObject) -> None:
    wrong = bytearray(encode(frame))
    wrong[data.draw(st.integers(0, len(wrong) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolError):
        list(Decoder().feed(bytes(wrong)))


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_bytes_in_any_pieces_never_raise_anything_else(pieces: list[bytes]) -> None:
    decoder = Decoder(max_frame=1000)
    with contextlib.suppress(ProtocolError):
        for piece in pieces:
            list(decoder.feed(piece))
