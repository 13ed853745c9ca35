"""Traces of real programs, as the standard OTEL_ variables turn them on."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from acceptance.commands import Shell, chat
from helpers.otlp import collector
from helpers.waiting import PATIENCE

PROMPT = "nobody else's business"


@pytest.fixture
def windfall(tmp_path: Path, redis_url: str) -> Shell:
    shell = Shell(tmp_path, redis_url)
    shell.write("in.jsonl", [chat(PROMPT, model="m")] * 2)
    return shell


def test_a_producer_and_a_worker_tell_one_collector_of_one_trace(windfall: Shell) -> None:
    with collector() as found:
        windfall.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = found.url
        with windfall.worker("--simulate", "m=0", "--log-level", "info") as process:
            assert windfall("submit", "in.jsonl", "--wait", "-o", "out.jsonl").code == 0
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    assert found.posts
    ((producer, enqueued),) = found.named("enqueue batch")
    jobs, attempts = found.named("job m"), found.named("chat m")
    assert (producer, {service for service, _ in jobs + attempts}) == ("windfall-producer", {"windfall-worker"})
    assert (len(jobs), len(attempts)) == (2, 2)
    assert {span.trace_id for _, span in found.spans} == {enqueued.trace_id}
    assert {job.parent_span_id for _, job in jobs} == {enqueued.span_id}
    assert {attempt.parent_span_id for _, attempt in attempts} == {job.span_id for _, job in jobs}
    assert PROMPT not in str(found.spans)
    lines = [json.loads(line) for line in said.splitlines()]
    assert {line["trace_id"] for line in lines if "job" in line} == {enqueued.trace_id.hex()}


def test_a_collector_that_is_away_holds_nothing_up_and_is_no_error(windfall: Shell) -> None:
    windfall.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
    with windfall.worker("--simulate", "m=0"):
        done = windfall("submit", "in.jsonl", "--wait", "-o", "out.jsonl")
    assert done.code == 0
    assert len(windfall.rows("out.jsonl")) == 2
    assert done.err.splitlines()[-1] == "the last spans were not accepted: is the collector running?"
    assert "Transient" not in done.err


def test_an_exporter_that_is_not_there_is_one_sentence(windfall: Shell) -> None:
    windfall.environment["OTEL_TRACES_EXPORTER"] = "zipper"
    for command in (["worker", "--simulate", "m=0"], ["submit", "in.jsonl"]):
        done = windfall(*command)
        assert done.code == 1
        assert done.err.splitlines() == [
            "windfall: OTEL_TRACES_EXPORTER names 'zipper', which is not installed; use otlp or console"
        ]
