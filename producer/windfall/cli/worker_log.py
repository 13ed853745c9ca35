"""The log of `windfall worker`: to stderr, or to a file; for a person or for a program."""

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
    """Where a worker logs. Opened with what the flags say, and opened again once `windfall.toml` was read.

    stderr belongs to a person, who gets sentences, unless the log goes there as JSON: then every line there is JSON but
    the one that says why the worker did not start.
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
        """Log in this shape from this level on; None is what goes without saying."""
        stream = None if self._file else sys.stderr
        shape = self._logs.shape_for(wanted or "auto", stream)
        self._as_json = shape == "json"
        self._handler.setFormatter(self._logs.formatter(shape, stream))
        self._logs.set_up(level or "warning", [self._handler])
        if self._file or self._as_json:
            logger.setLevel(logging.INFO)  # the log alone says when the worker was ready

    def tell(self, text: str) -> None:
        """What whoever started the worker wants to know."""
        if self._file or not self._as_json:
            note(text)
        if self._file or self._as_json:
            logger.info(without_passwords(text))  # not as an argument: `Repeats` would take all for one

    def caution(self, text: str) -> None:
        """What whoever started the worker should mend, in the log wherever that goes."""
        logger.warning(text.removeprefix("warning: "))

    @contextmanager
    def failures(self) -> Iterator[None]:
        """What ends the worker stands in its file, too: nobody reads the stderr of a service."""
        try:
            yield
        except Exception as exc:
            if self._file:
                known = isinstance(exc, WindfallError)
                logger.log(logging.ERROR, without_passwords(str(exc)), exc_info=not known)
            raise
