"""How a worker's log looks: lines for a person in a terminal, one JSON object a line anywhere else.

Every record of the standard `logging`, ours and those of libraries, goes through one structlog formatter a handler.
What is bound with `structlog.contextvars` in a task (worker, job, batch, model, attempt, backend) stands in each of its
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

#: What stands first in a line, in this order; what is bound to a task has none.
_FIRST: Final = ("time", "level", "event", "logger", "worker", "job", "batch", "model", "attempt", "backend")
#: What a call may say besides, with `extra=`.
_EXTRA: Final = ("job", "batch", "model", "backend")

_Event = MutableMapping[str, Any]


def set_up(level: str, handlers: Iterable[logging.Handler]) -> None:
    """Send everything that is logged from this level on to these handlers, and to no others."""
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)  # noqa: FBT003 - logging's signature


def shape_for(wanted: str, stream: TextIO | None) -> Shape:
    """The shape that `auto`, `human` or `json` means for what is written to this stream; None is a file."""
    if wanted == "auto":
        return "human" if stream and stream.isatty() else "json"
    return "json" if wanted == "json" else "human"


def formatter(shape: Shape, stream: TextIO | None = None) -> logging.Formatter:
    """What makes a line out of a record, for any handler; in colour where `stream` is a terminal that has some."""
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
    console = Console(file=stream)  # knows NO_COLOR, dumb terminals and the like
    return bool(console.color_system) and not console.no_color


def _local_time() -> Processor:
    return processors.TimeStamper("%Y-%m-%d %H:%M:%S", utc=False, key="time")


def _console(*, colours: bool) -> Processor:
    return dev.ConsoleRenderer(
        colors=colours,
        timestamp_key="time",
        pad_event_to=0,
        sort_keys=False,
        # rich's would print the local variables, and among them are prompts.
        exception_formatter=dev.plain_traceback,
    )


def _exceptions(_: Any, __: str, event: _Event) -> _Event:
    """The traceback as text. Within a job without the exception's own words: they may quote the prompt."""
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
    """Hide the password of every URL, whoever logged it."""
    for key, value in event.items():
        if isinstance(value, str) and "://" in value:
            event[key] = without_passwords(value)
    return event


def _in_order(_: Any, __: str, event: _Event) -> _Event:
    return {key: event.pop(key) for key in _FIRST if key in event} | dict(event)


def _printable(_: Any, __: str, event: _Event) -> _Event:
    """What an endpoint answered must not move the cursor of whoever reads of it."""
    text = str(event["event"])
    event["event"] = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    for key, value in event.items():
        if key != "event" and isinstance(value, str):
            event[key] = visible(value)
    return event
