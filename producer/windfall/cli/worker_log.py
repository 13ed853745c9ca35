"""The log of `windfall worker`: to stderr or a file, for people or programs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from windfall.broker.connection import without_passwords
from windfall.cli.models import worker_package
from windfall.cli.screen.console import note
from windfall.cli.screen.quiet import Repeats
from windfall.errors import WindfallError
from windfall.service.launchd import Launchd
from windfall.telemetry.log_file import log_file_handler, trim_stderr

logger = logging.getLogger("windfall.cli.worker")


class WorkerLog:
    """A worker's log. Opened as the flags say, and again once `windfall.toml` has been read.

    stderr gets sentences for people, unless the log goes there as JSON: then every line is JSON, except the one that
    says why the worker did not start.
    """

    def __init__(self, file: Path | None) -> None:
        with worker_package():
            from windfall.telemetry import logs  # noqa: PLC0415 - structlog comes with the worker
        self._logs = logs
        self._file = file
        if file:
            trim_stderr(Launchd().error_file)
        self._handler = log_file_handler(file) if file else logging.StreamHandler(sys.stderr)
        self._handler.addFilter(Repeats())
        self._as_json = False

    def open(self, wanted: str | None, level: str | None) -> None:
        """Log in this format from this level up; None means the default."""
        stream = None if self._file else sys.stderr
        shape = self._logs.shape_for(wanted or "auto", stream)
        self._as_json = shape == "json"
        self._handler.setFormatter(self._logs.formatter(shape, stream))
        self._logs.set_up(level or "warning", [self._handler])
        if self._file or self._as_json:
            logger.setLevel(logging.INFO)  # "ready" is logged even at the level warning

    def tell(self, text: str) -> None:
        """Tell the person who started the worker."""
        if self._file or not self._as_json:
            note(text)
        if self._file or self._as_json:
            logger.info(without_passwords(text))  # not as an argument: `Repeats` would treat all of them as one message

    def caution(self, text: str) -> None:
        """Log something that the person who started the worker should fix."""
        logger.warning(text.removeprefix("warning: "))

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Also write what ends the worker to its log file: nobody reads a service's stderr."""
        try:
            yield
        except Exception as exc:
            if self._file:
                known = isinstance(exc, WindfallError)
                logger.log(logging.ERROR, without_passwords(str(exc)), exc_info=not known)
            raise
