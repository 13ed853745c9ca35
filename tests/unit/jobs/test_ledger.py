"""A job's ledger: what it keeps of a job that was run again by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from windfall.errors import RateLimited
from windfall.result import Attempt, ErrorInfo
from windfall_worker.jobs.ledger import Ledger
from windfall_worker.recorder import SILENT

CONTEXT: Any = SimpleNamespace(worker="w", record=SILENT, clock=SimpleNamespace(carried=lambda: 2.0))
CLOUD: Any = SimpleNamespace(backend=SimpleNamespace(name="openai", model_name="m"))


def refused(*, retried: bool = False) -> Attempt:
    error = ErrorInfo(type=RateLimited.type, message="")
    return Attempt(backend="openai", started_at=1.0, outcome="failed", error=error, retried=retried)


def test_the_same_refusal_twice_running_is_one_line() -> None:
    ledger = Ledger([refused()], "lane", CONTEXT)
    ledger.note_error(CLOUD, 1.0, RateLimited(""))
    assert len(ledger) == 1


def test_a_refusal_after_which_the_job_was_run_again_keeps_its_line_and_its_mark() -> None:
    ledger = Ledger([refused(retried=True)], "lane", CONTEXT)
    ledger.moved_on("handed back")
    ledger.note_error(CLOUD, 1.0, RateLimited(""))
    assert [attempt.retried for attempt in ledger.attempts] == [True, False]
