"""Messages that are almost right: no change to one raises anything but a `WireError`, and none gets through changed."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.fuzzing import anything, changed, paths
from helpers.requests import request
from windfall.errors import WireError
from windfall.result import Attempt, Completion, CompletionResult, ErrorInfo, JobState, Timings, Usage
from windfall.wire import (
    decode_attempts,
    decode_job,
    decode_result,
    encode_attempts,
    encode_job,
    encode_result,
    job_deserializer,
)

ATTEMPT = Attempt(
    backend="mlx", started_at=1.0, outcome="failed", error=ErrorInfo(type="x", message="y"), usage=Usage()
)
RESULT = CompletionResult(
    job_id="b:1",
    state=JobState.COMPLETED,
    model="m",
    completion=Completion(content="grüße", usage=Usage(prompt_tokens=3)),
    attempts=(ATTEMPT,),
    timings=Timings(enqueued_at=1.0, started_at=1.5, finished_at=2.0),
)
JOB = json.loads(encode_job(request("hi", temperature=0.5, stop=("a",), metadata={"k": "v"}), 1))
ENDED = json.loads(encode_result(RESULT, "windfall:lane:auto:m"))
LEDGER = json.loads(encode_attempts((ATTEMPT,)))


def almost(message: Any) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda at, new: json.dumps(changed(message, at, new)).encode(), st.sampled_from(paths(message)), anything
    )


@given(almost(JOB))
@settings(max_examples=400)
def test_a_job_with_something_else_in_one_place_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(WireError):
        job = decode_job(data)
        assert decode_job(encode_job(job.request, job.et)).request == job.request
    with contextlib.suppress(WireError):
        job_deserializer(data)


@given(almost(ENDED))
@settings(max_examples=400)
def test_a_result_with_something_else_in_one_place_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(WireError):
        result = decode_result(data)
        assert decode_result(encode_result(result, "q")) == result
    with contextlib.suppress(WireError):
        job_deserializer(data)


@given(almost(LEDGER))
def test_a_ledger_with_something_else_in_one_place_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(WireError):
        attempts = decode_attempts(data)
        assert decode_attempts(encode_attempts(attempts)) == attempts


@given(st.sampled_from([b"[", b'{"v":', b'{"a":[']), st.integers(1, 20_000))
def test_no_depth_ends_the_program(opening: bytes, depth: int) -> None:
    for decode in (decode_job, decode_result, decode_attempts, job_deserializer):
        with contextlib.suppress(WireError):
            decode(opening * depth)
