"""The format of a worker's log: lines for people in a terminal, one JSON object per line anywhere else.

Every record of the standard `logging`, ours and those of libraries, goes through one structlog formatter per handler.
Values bound with `structlog.contextvars` in a task (worker, job, batch, model, attempt, backend) appear in each of its
lines. No line holds a prompt or a password: see `_exceptions` and `_clean`. Needs structlog, which the worker brings.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, MutableMapping
from typing import Any, Final, Literal, TextIO

from rich.console import Console
from structlog import contextvars, dev, processors, stdlib
from structlog.typing import Processor

from windfall.broker.connection import without_passwords
from windfall.telemetry.tracebacks import without_words
from windfall.telemetry.visible import visible

Shape = Literal["human", "json"]

#: The fields that come first in a line, in this order; those bound to a task have no order.
_FIRST: Final = ("time", "level", "event", "logger", "worker", "job", "batch", "model", "attempt", "backend")
#: Fields that a call may add with `extra=`.
_EXTRA: Final = ("job", "batch", "model", "backend")

_Event = MutableMapping[str, Any]


def set_up(level: str, handlers: Iterable[logging.Handler]) -> None:
    """Send all records from this level up to these handlers, and to no others."""
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)  # noqa: FBT003 - logging's signature


def shape_for(wanted: str, stream: TextIO | None) -> Shape:
    """Resolve `auto`, `human` or `json` for this stream; None is a file."""
    if wanted == "auto":
        return "human" if stream and stream.isatty() else "json"
    return "json" if wanted == "json" else "human"


def formatter(shape: Shape, stream: TextIO | None = None) -> logging.Formatter:
    """A formatter for any handler; with colours if `stream` is a terminal that supports them."""
    chain: list[Processor] = [
        contextvars.merge_contextvars,
        stdlib.ExtraAdder(allow=_EXTRA),
        stdlib.add_log_level,
        stdlib.add_logger_name,
        processors.TimeStamper("iso", key="time") if shape == "json" else _local_time(),
        _exceptions,
        _clean,
    ]
    last: list[Processor] = [stdlib.ProcessorFormatter.remove_processors_meta, _in_order]
    if shape == "json":
        last += [processors.JSONRenderer(default=str)]
    else:
        last += [_printable, _console(colours=_has_colours(stream))]
    return stdlib.ProcessorFormatter(foreign_pre_chain=chain, processors=last)


def _has_colours(stream: TextIO | None) -> bool:
    if stream is None:
        return False
    console = Console(file=stream)  # handles NO_COLOR, dumb terminals and so on
    return bool(console.color_system) and not console.no_color


def _local_time() -> Processor:
    return processors.TimeStamper("%Y-%m-%d %H:%M:%S", utc=False, key="time")


def _console(*, colours: bool) -> Processor:
    return dev.ConsoleRenderer(
        colors=colours,
        timestamp_key="time",
        pad_event_to=0,
        sort_keys=False,
        # rich's tracebacks would print local variables, which include prompts.
        exception_formatter=dev.plain_traceback,
    )


def _exceptions(_: Any, __: str, event: _Event) -> _Event:
    """The traceback as text; within a job without the exception's message, which may quote the prompt."""
    found = event.pop("exc_info", None)
    if not found or found[1] is None:
        return event
    exc: BaseException = found[1]
    if "job" in event:
        event["exception"] = without_words(exc)
    else:
        event["exception"] = "".join(traceback.format_exception(exc)).rstrip()
    return event


def _clean(_: Any, __: str, event: _Event) -> _Event:
    """Hide the password of every URL, no matter what logged it."""
    for key, value in event.items():
        if isinstance(value, str) and "://" in value:
            event[key] = without_passwords(value)
    return event


def _in_order(_: Any, __: str, event: _Event) -> _Event:
    return {key: event.pop(key) for key in _FIRST if key in event} | dict(event)


def _printable(_: Any, __: str, event: _Event) -> _Event:
    """Escape control characters: an endpoint's answer must not move the reader's cursor."""
    text = str(event["event"])
    event["event"] = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    for key, value in event.items():
        if key != "event" and isinstance(value, str):
            event[key] = visible(value)
    return event
