"""The fingerprint of a request: equal for the same request however it is written, and different for any other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.requests import request
from windfall import CompletionRequest
from windfall.fingerprint import fingerprint
from windfall.wire import decode_job, encode_job

BODY: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "hé"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"b": 1, "a": None}}}],
    "temperature": 0,
    "stop": ["x"],
}

#: Never to be edited: answers in people's files are found again by them.
GOLDEN = (
    "6d139f1403cd84518768857efed6c375c0e3fe1af3f250cd3a5c59ea87a0323c",
    "03e506f61e59a7734495082f91b150975fc12ae89027e83b65a6f71f96f12889",
    "37b113d304f9d2625ea1c2a5e0aae0c043b35224e6bc5b9c1bfc9f8e3c5722f7",
)


def of(body: dict[str, Any]) -> str:
    return fingerprint(CompletionRequest.model_validate(body))


def test_the_fingerprints_of_requests_are_the_same_in_every_version() -> None:
    assert of({"model": "m", "messages": [{"role": "user", "content": "hi"}]}) == GOLDEN[0]
    assert of(BODY) == GOLDEN[1]
    assert of(BODY | {"route": "local", "seed": 7, "logit_bias": {"5": -1}}) == GOLDEN[2]


def test_neither_the_order_of_keys_nor_written_out_defaults_matter() -> None:
    turned = json.loads(json.dumps(BODY, sort_keys=True)) | {"top_p": None, "route": "auto", "stream": False}
    assert of(dict(reversed(turned.items()))) == of(BODY)


@pytest.mark.parametrize(
    "change",
    [
        {"custom_id": "c"},
        {"priority": 3},
        {"deadline": 60.0},
        {"on_ambiguous": "fail"},
        {"metadata": {"a": "b"}},
        {"stream": True},
        {"user": "u"},
    ],
)
def test_what_does_not_change_the_answer_does_not_change_it(change: dict[str, Any]) -> None:
    assert of(BODY | change) == of(BODY)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "n"},
        {"messages": [{"role": "user", "content": "he"}]},
        {"messages": [{"role": "system", "content": "hé"}]},
        {"temperature": 0.1},
        {"stop": ["x", "y"]},
        {"seed": 0},
        {"max_tokens": 1},
        {"route": "cloud"},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"b": 1, "a": 0}}}]},
        {"chat_template_kwargs": {"enable_thinking": False}},
    ],
)
def test_whatever_may_change_the_answer_does(change: dict[str, Any]) -> None:
    assert of(BODY | change) != of(BODY)


def test_a_worker_sees_the_fingerprint_that_the_producer_saw() -> None:
    asked = request("é\u2028", temperature=0.1, stop=("a",), tools=[{"z": 1.5, "a": [1, None]}], deadline=3.5)
    assert fingerprint(decode_job(encode_job(asked, 1)).request) == fingerprint(asked)
