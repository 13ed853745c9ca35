"""The frames between worker and engine, whole, cut, and garbled."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windfall.request import CompletionRequest
from windfall.result import Completion
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
from windfall_worker.engine.settings import EngineSettings

REQUEST = CompletionRequest(
    model="m", messages=[{"role": "user", "content": "grüße 🌊"}], temperature=0.0, seed=2**80, stop=("a", "b")
)
MESSAGES: list[Message] = [
    Load(model="folder", name="m", slots=3, settings=EngineSettings(kv_bytes=5)),
    Submit(id=1, request=REQUEST, follow=True),
    Cancel(id=1),
    Ready(context_length=1, vocab_size=2, kv_bytes_per_token=3, kv_bytes=4, prefix_bytes=0),
    LoadFailed(message="no"),
    DeltaFrame(id=1, content="x\x00", reasoning="\n"),
    Done(id=1, completion=Completion(content="", tokens_per_second=1.5)),
    Failed(id=1, kind="invalid_request", message="no"),
    Beat(step=4, busy=0.5),
]


def test_every_message_survives_the_pipe() -> None:
    assert list(Decoder().feed(b"".join(map(encode, MESSAGES)))) == MESSAGES


@given(st.lists(st.integers(1, 400), max_size=30))
def test_messages_survive_however_the_bytes_are_cut(cuts: list[int]) -> None:
    data, decoder = b"".join(map(encode, MESSAGES)), Decoder()
    seen: list[object] = []
    for cut in cuts:
        seen += decoder.feed(data[:cut])
        data = data[cut:]
    seen += decoder.feed(data)
    assert seen == MESSAGES


@given(st.binary(max_size=200))
def test_garbage_is_a_protocol_error_or_an_unfinished_frame(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert list(Decoder(max_frame=64).feed(data)) == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_json_that_is_no_message_is_a_protocol_error(value: object) -> None:
    body = json.dumps(value).encode()
    with pytest.raises(ProtocolError):
        list(Decoder().feed(len(body).to_bytes(4, "big") + body))


def test_a_frame_that_claims_too_much_is_refused_before_it_is_read() -> None:
    with pytest.raises(ProtocolError, match="4,294,967,295"):
        list(Decoder().feed(b"\xff\xff\xff\xff"))


def test_a_protocol_error_does_not_show_a_prompt() -> None:
    body = encode(Submit(id=1, request=REQUEST))[4:].replace(b'"follow":false', b'"follow":"secret"')
    with pytest.raises(ProtocolError) as caught:
        list(Decoder().feed(len(body).to_bytes(4, "big") + body))
    assert "secret" not in str(caught.value)


def test_what_came_before_a_bad_frame_is_delivered() -> None:
    seen: list[Message] = []
    with pytest.raises(ProtocolError):
        seen.extend(Decoder().feed(encode(Cancel(id=1)) + b"\x00\x00\x00\x02{]"))
    assert seen == [Cancel(id=1)]


def test_the_workers_side_never_loads_mlx() -> None:
    program = (
        "import sys, windfall_worker.backends.mlx\n"
        "sys.exit(any(name.split('.')[0] in ('mlx', 'mlx_lm', 'transformers') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
