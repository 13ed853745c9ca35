"""What an engine's process prints is in the worker's log: no prompt may be in it."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.requests import request
from windfall_worker.engine.child import _prepared
from windfall_worker.engine.protocol import Failed, Message, Submit

PROMPT = "a prompt that is nobody's business"


def test_a_request_that_cannot_be_prepared_is_logged_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    class Intake:
        def prepare(self, submit: Submit) -> None:
            raise ValueError(f"cannot tokenize {submit.request.messages[0].text()}")

    intake: Any = Intake()
    sent: list[Message] = []
    assert _prepared(intake, Submit(id=1, request=request(PROMPT)), sent.append) is None
    (failed,) = sent
    assert isinstance(failed, Failed)
    assert failed.message == "the engine cannot prepare this request: ValueError"
    assert "in prepare" in caplog.text
    assert "ValueError" in caplog.text
    assert PROMPT not in caplog.text
