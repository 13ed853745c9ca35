"""Bytes <-> types: what goes in comes out, and nothing that comes in does harm."""

from __future__ import annotations

import pickle

import pytest
from arq.jobs import serialize_job, serialize_result
from hypothesis import given
from hypothesis import strategies as st

from helpers.requests import request
from windfall import Completion, CompletionFailed, CompletionResult, JobState, Usage
from windfall.errors import UnknownContract, WireError
from windfall.request import FunctionCall, ToolCall
from windfall.result import Attempt, ErrorInfo, Timings
from windfall.wire import (
    decode_attempts,
    decode_job,
    decode_result,
    encode_attempts,
    encode_job,
    encode_result,
    job_deserializer,
    job_serializer,
)

RESULT = CompletionResult(
    job_id="b:1",
    state=JobState.COMPLETED,
    model="m",
    custom_id="c",
    completion=Completion(content="é", usage=Usage(prompt_tokens=3)),
    attempts=(Attempt(backend="mlx", started_at=1.5, outcome="completed", usage=Usage(prompt_tokens=3)),),
    timings=Timings(enqueued_at=1.25, started_at=1.5, finished_at=2.5),
)


def test_a_job_survives_the_wire_with_zeros_and_falses() -> None:
    asked = request("é\u2028\0", temperature=0, seed=0, logprobs=False, priority=-9, stop=["a", "b"], deadline=1.5)
    message = decode_job(encode_job(asked, 123))
    assert (message.request, message.et) == (asked, 123)


def test_a_result_survives_the_wire_and_holds_no_prompt() -> None:
    data = encode_result(RESULT, "lane")
    assert decode_result(data) == RESULT
    assert b"messages" not in data


def test_a_ledger_survives_the_wire() -> None:
    assert decode_attempts(encode_attempts(RESULT.attempts)) == RESULT.attempts


def test_what_an_older_version_marked_in_words_alone_is_understood() -> None:
    old = b'[{"backend":"mlx","started_at":1.5,"outcome":"failed","moved_on":"run again by hand"}]'
    (attempt,) = decode_attempts(old)
    assert attempt.retried
    assert b'"retried":true' in encode_attempts((attempt,))
    data = encode_result(RESULT.model_copy(update={"attempts": (attempt.model_copy(update={"retried": False}),)}), "l")
    assert decode_result(data).attempts == (attempt,)


def test_stock_arqs_own_serialisation_reads_and_writes_the_same_messages() -> None:
    job = serialize_job("complete", (request(),), {}, None, 5, serializer=job_serializer)
    assert decode_job(job).request == request()
    data = serialize_result(
        "complete",
        ("a prompt",),
        {},
        1,
        5,
        RESULT.ok,
        RESULT,
        6,
        7,
        "ref",
        "lane",
        job_id="b:1",
        serializer=job_serializer,
    )
    assert data is not None
    assert decode_result(data) == RESULT
    assert b"a prompt" not in data


def test_stock_arq_gets_the_failure_of_a_failed_job() -> None:
    failed = RESULT.model_copy(update={"state": JobState.FAILED, "error": ErrorInfo(type="x", message="because")})
    raised = job_deserializer(encode_result(failed, "lane"))["r"]
    assert isinstance(raised, CompletionFailed)
    assert "because" in str(raised)


@pytest.mark.parametrize("decode", [decode_job, decode_result, job_deserializer])
def test_another_contract_version_is_told_apart_from_garbage(decode: object) -> None:
    with pytest.raises(UnknownContract, match="contract 2"):
        decode(b'{"v":2,"f":"complete"}')  # type: ignore[operator]
    garbage = [b"", b"[]", b"null", b"\x80", pickle.dumps({"v": 1}), b'{"v":1}', b'{"v":1,"r":{}}', b'{"v":"x"}']
    for data in [*garbage, b'{"f":"complete"}']:
        with pytest.raises(WireError):
            decode(data)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (b'"model":"m"', b'"model":"m","mood":{"x":1}', "mood"),
        (b'"role":"user"', b'"role":"user","mood":1', "messages.0.mood"),
        (b'"role":"user"', b'"role":"critic","mood":1', "messages.0.mood"),
    ],
)
def test_a_job_with_a_field_that_a_newer_version_added_is_left_to_others(old: bytes, new: bytes, field: str) -> None:
    data = encode_job(request(), 1)
    assert old in data
    with pytest.raises(UnknownContract, match=f"the field '{field}', which this program does not know"):
        decode_job(data.replace(old, new))


def test_a_job_with_a_kind_of_part_that_a_newer_version_added_is_left_to_others() -> None:
    data = encode_job(request([{"type": "text", "text": "x"}]), 1).replace(b'"type":"text"', b'"type":"smell"')
    with pytest.raises(UnknownContract, match="which this program does not know"):
        decode_job(data)


def test_a_result_with_fields_that_a_newer_version_added_is_read() -> None:
    call = ToolCall(id="1", function=FunctionCall(name="f", arguments="{}"))
    result = RESULT.model_copy(update={"completion": Completion(tool_calls=(call,))})
    data = encode_result(result, "lane")
    for place in (b'"job_id":', b'"tool_calls":', b'"id":"1"', b'"arguments":', b'"backend":"mlx"', b'"enqueued_at":'):
        assert place in data
        data = data.replace(place, b'"mood":[1],' + place)
    assert decode_result(data) == result


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.sampled_from([encode_result(RESULT, "q")]).flatmap(
        lambda data: st.integers(0, len(data)).map(lambda cut: data[:cut] + b"}")
    )
)
def test_no_bytes_raise_anything_but_a_wire_error(data: bytes) -> None:
    for decode in (decode_job, decode_result, decode_attempts, job_deserializer):
        try:
            decode(data)
        except WireError as exc:
            assert exc.data == data  # noqa: PT017 - most inputs raise, none must raise otherwise


def test_a_reason_never_quotes_the_prompt() -> None:
    data = encode_job(request("secret words"), 1).replace(b'"user"', b'"nobody"')
    with pytest.raises(WireError) as caught:
        decode_job(data)
    assert "role" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_trace_travels_with_its_job_and_without_one_the_bytes_are_what_they_were() -> None:
    context = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    traced = encode_job(request(), 5, context)
    assert decode_job(traced).trace == context
    assert decode_job(traced).request == request()
    assert encode_job(request(), 5) == encode_job(request(), 5, None) == encode_job(request(), 5, {})
    assert traced.startswith(encode_job(request(), 5)[:-1])


@pytest.mark.parametrize("found", [b"5", b"[]", b'{"traceparent":5}', b'{"traceparent":"%s"}' % (b"x" * 600), b"null"])
def test_a_trace_that_is_none_is_left_out(found: bytes) -> None:
    assert decode_job(encode_job(request(), 5)[:-1] + b',"trace":%s}' % found).trace == {}
