"""The input files of commands."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from windfall.errors import ConfigError, InvalidRequest
from windfall.formats import Overrides, read_rows
from windfall.formats.lanes_asked import count_lanes
from windfall.request import Route
from windfall.row import Row


class Given(Protocol):
    """Where the rows of a run come from."""

    @property
    def name(self) -> str:
        """What the user calls it."""

    @property
    def rereadable(self) -> bool:
        """Whether its rows can be read more than once."""

    def rows(self) -> Iterator[Row]:
        """Its rows from the first on."""

    def lanes(self, models: Collection[str]) -> Counter[tuple[str, Route]] | None:
        """How many rows ask for which lane of these models; None where they can only be read once."""

    def kept(self) -> AbstractContextManager[None]:
        """Make them readable more than once."""


class InputFile:
    """An open JSONL file, or stdin."""

    def __init__(self, stream: BinaryIO, name: str, overrides: Overrides, max_row_bytes: int) -> None:
        self._stream = stream
        self.name = name  #: as the user gave it
        self._overrides = overrides
        self._max_row_bytes = max_row_bytes
        self._begin = stream.tell() if stream.seekable() else None
        self._begun = False

    @property
    def rereadable(self) -> bool:
        """Whether its rows can be read more than once: a pipe's only inside `kept`."""
        return self._begin is not None

    def rows(self) -> Iterator[Row]:
        """Its rows from the beginning. Raises `InvalidRequest` if there is none."""
        if self._begun:
            if self._begin is None:
                raise RuntimeError("a pipe can only be read once; see `kept`")
            self._stream.seek(self._begin)
        self._begun = True
        rows = read_rows(self._stream, name=self.name, overrides=self._overrides, max_row_bytes=self._max_row_bytes)
        return itertools.chain([next(rows)], rows)  # an empty file is reported before anything is started

    def lanes(self, models: Collection[str]) -> Counter[tuple[str, Route]] | None:
        """How many rows ask for which lane of these models; None for a pipe that can only be read once."""
        if self._begin is None:
            return None
        at = self._stream.tell()
        self._stream.seek(self._begin)
        try:
            return count_lanes(self._stream, self._overrides, models, self._max_row_bytes)
        finally:
            self._stream.seek(at)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Make the rows of a pipe readable more than once, by copying them to an unnamed temporary file."""
        if self._begin is not None:
            yield
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(self._stream, copy)
            copy.seek(0)
            self._stream, self._begin = copy, 0
            yield


@contextmanager
def rows_of(path: Path, overrides: Overrides, max_row_bytes: int) -> Iterator[Iterator[Row]]:
    """The rows of a JSONL file, or of stdin (`-`). Raises `InvalidRequest` if there is no file or no row."""
    with opened(path, overrides, max_row_bytes) as source:
        yield source.rows()


@contextmanager
def opened(path: Path, overrides: Overrides, max_row_bytes: int) -> Iterator[InputFile]:
    """Open a JSONL file, or stdin (`-`). Raises `InvalidRequest` if there is none."""
    name = "stdin" if str(path) == "-" else str(path)
    try:
        with _opened(path) as stream:
            yield InputFile(stream, name, overrides, max_row_bytes)
    except FileNotFoundError as exc:
        if exc.filename != str(path):
            raise
        raise InvalidRequest(f"no such file: {name}") from exc
    except (IsADirectoryError, PermissionError) as exc:
        if exc.filename != str(path):
            raise
        raise InvalidRequest(f"cannot read {name}: {exc.strerror}") from exc


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A source that cannot be read twice stays open: closing it would block on the thread that reads its next row."""
    if str(path) != "-" and not (path.exists() and stat.S_ISFIFO(path.stat().st_mode)):
        with path.open("rb") as stream:
            yield stream
    else:
        # Not sys.stdin.buffer, which the interpreter cannot finalize at exit while a thread reads it.
        yield open(0 if str(path) == "-" else path, "rb", closefd=str(path) != "-")  # noqa: SIM115 - the same


def fingerprint(path: Path, *flags: object) -> str:
    """A digest of this file's state and these flags; empty for a source that cannot be read twice."""
    try:
        found = path.stat()
    except OSError:
        return ""
    if not stat.S_ISREG(found.st_mode):
        return ""
    facts = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, *flags)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def refuse_same_file(source: Path, target: Path) -> None:
    """Raises `ConfigError` if the results would overwrite the requests."""
    if str(source) != "-" and str(target) != "-" and target.exists() and source.exists() and target.samefile(source):
        raise ConfigError(f"{target} is the input file; name another file for the results")
