"""How the log looks, and what is never in it."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.contextvars import bound_contextvars

from windfall.cli.screen.quiet import Repeats
from windfall.telemetry import logs

logger = logging.getLogger("windfall.somewhere")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(False)  # noqa: FBT003 - logging's signature
    root.handlers[:] = handlers
    root.setLevel(level)


def handler_to(stream: io.StringIO, shape: logs.Shape) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.formatter(shape, stream))
    return handler


def written(shape: logs.Shape, level: str = "info", *filters: logging.Filter) -> io.StringIO:
    stream = io.StringIO()
    handler = handler_to(stream, shape)
    for each in filters:
        handler.addFilter(each)
    logs.set_up(level, [handler])
    return stream


def objects(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_of_json_is_one_object_with_what_is_bound_to_the_task() -> None:
    stream = written("json")
    with bound_contextvars(worker="w", job="b:1", batch="b", attempt=2):
        logger.warning("job %s\nfails", "b:1")
    logging.getLogger("arq.worker").info("from a library")
    first, second = objects(stream)
    assert list(first)[:4] == ["time", "level", "event", "logger"]
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "warning", "event": "job b:1\nfails", "logger": "windfall.somewhere",
        "worker": "w", "job": "b:1", "batch": "b", "attempt": 2,
    }  # fmt: skip
    assert (second["event"], "job" in second) == ("from a library", False)


def test_a_line_for_a_person_holds_the_same_without_colour_or_control_characters() -> None:
    stream = written("human")
    with bound_contextvars(job="b:1"):
        logger.warning("an endpoint said \x1b[2J")
    (line,) = stream.getvalue().splitlines()
    assert "an endpoint said \\x1b[2J" in line
    assert "job=b:1" in line
    assert line.isprintable()


def test_what_is_below_the_level_is_not_said_and_nothing_is_said_twice() -> None:
    stream = written("json", "warning")
    logs.set_up("warning", logging.getLogger().handlers[:])
    logger.info("quiet")
    logger.warning("loud")
    assert [line["event"] for line in objects(stream)] == ["loud"]


def test_a_log_that_repeats_itself_is_cut_short_alike_in_both_of_two_handlers() -> None:
    streams = [io.StringIO(), io.StringIO()]
    handlers = [handler_to(stream, "json") for stream in streams]
    for handler in handlers:
        handler.addFilter(Repeats())
    logs.set_up("info", handlers)
    for number in range(3):
        logger.warning("away for the %d. time", number)
    assert [[line["event"] for line in objects(stream)] for stream in streams] == [["away for the 0. time"]] * 2


@pytest.mark.parametrize(
    "url", ["redis://:pa@hunter2@h", "redis://h?password=hunter2", "redis+sentinel://a,b/m?sentinel_password=hunter2"]
)
def test_a_password_is_hidden_wherever_it_stands_in_an_address(url: str) -> None:
    stream = written("json")
    logger.warning("%s is away", url)
    assert "hunter2" not in stream.getvalue()
    assert "***" in stream.getvalue()


@pytest.mark.parametrize("shape", ["human", "json"])
def test_no_prompt_is_in_the_traceback_of_a_job_and_no_password_in_any_line(shape: logs.Shape) -> None:
    stream = written(shape)

    def broken(prompt: str) -> None:
        raise ValueError(f"cannot read {prompt!r}")

    for context, prompt in (({"job": "b:1"}, "a secret prompt"), ({}, "harmless")):
        try:
            broken(prompt)
        except ValueError:
            with bound_contextvars(**context):
                logger.exception("it failed at %s", "redis://:hunter2@mini:6379")
    said = stream.getvalue()
    assert said.count("in broken") == 2
    assert "ValueError: cannot read 'harmless'" in said
    assert "secret" not in said
    assert "hunter2" not in said
    assert said.count("redis://:***@mini:6379") == 2


def test_auto_is_json_where_it_is_no_terminal() -> None:
    assert logs.shape_for("auto", io.StringIO()) == logs.shape_for("auto", None) == "json"
    assert logs.shape_for("human", io.StringIO()) == "human"
    assert logs.shape_for("json", sys.stderr) == "json"
