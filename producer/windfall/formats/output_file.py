"""A file of output lines that survives a kill: lines are never lost, and written only once."""

from __future__ import annotations

import fcntl
import os
import shlex
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from pydantic_core import from_json

from windfall.config.private import append_private, open_private, replacement
from windfall.errors import ConfigError, RequestRejected
from windfall.formats.digests import Digests
from windfall.formats.output_line import encode_row, output_row
from windfall.keys import batch_of
from windfall.result import CompletionResult

#: What identifies a row in an output file.
Key = Callable[[dict[str, Any]], str]

_BEGINNING: Final = b'{"id":"'
_ENVELOPE: Final = frozenset({"id", "custom_id", "response", "error"})


def by_job_id(row: dict[str, Any]) -> str:
    """Rows of one batch, which may share custom ids."""
    return str(row["id"])


def answered(row: dict[str, Any]) -> str:
    """What a line answers: the fingerprint, or why the row was no request; empty where that cannot be told."""
    ours, error = row.get("windfall"), row.get("error")
    found = ours.get("fingerprint") if isinstance(ours, dict) else None
    if not found and isinstance(error, dict) and error.get("code") == RequestRejected.type:
        found = error.get("message")
    return found if isinstance(found, str) else ""


def _job_and_answer(row: dict[str, Any]) -> str:
    return f"{row['id']}\0{answered(row)}"


class OutputFile:
    """Output lines in a file, or on stdout (`-`).

    Opening reads what is there: a last line that was cut off by a kill is removed, and the keys of the others are
    remembered (as 64-bit hashes), so that `has` can tell what need not be written again. With `again`, rows that
    failed are removed too, to be written again; with `batch`, only those of this batch. The file is locked for as long
    as it is open, unless not to `lock` it is asked for; a new one is its user's alone. Raises `ConfigError` where it
    cannot be read or written, or holds something else; with `batch`, also where it has rows of other batches and none
    of this one ("" = of none), unless it is `shared` with those. The file is then left as it is.
    """

    def __init__(
        self,
        path: Path,
        key: Key,
        *,
        again: bool = False,
        batch: str | None = None,
        shared: bool = False,
        lock: bool = True,
    ) -> None:
        self.name = "stdout" if str(path) == "-" else str(path)
        self.rows = 0  #: rows in the file
        self.failed = 0  #: those of them that are errors
        self._path = path
        self._key = key
        self._again = again
        self._batch = batch
        self._shared = shared
        self._lock = lock
        self._keys = Digests()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._file = self._opened()
        except OSError as exc:
            raise ConfigError(f"cannot write to {self.name}: {exc.strerror}") from exc
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        file, self._file = self._file, None
        if file is None or file is sys.stdout.buffer:
            return
        try:
            file.close()
        except OSError as closing:
            if exc is None:
                raise ConfigError(f"cannot write to {self.name}: {closing.strerror}") from closing

    def has(self, key: str) -> bool:
        """Whether the row with this key was in the file when it was opened, or has been written since."""
        return key in self._keys

    def write(self, results: Iterable[CompletionResult]) -> None:
        """Append the lines of these results and flush them. Raises `ConfigError` (disk full, …)."""
        self.write_rows([output_row(result) for result in results])

    def write_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append these rows and flush them. Raises `ConfigError` (disk full, …)."""
        if self._file is None:
            raise RuntimeError("the output file is not open")
        try:
            self._file.write(b"".join(map(encode_row, rows)))
            self._file.flush()
        except BrokenPipeError:
            raise  # the reader of our stdout has seen enough: not a failure
        except OSError as exc:
            reason = f"cannot write to {self.name}: {exc.strerror}; {self.rows} rows are in it"
            raise ConfigError(f"{reason}, and repeating the command continues after them") from exc
        for row in rows:
            self._remember(row)

    def lacks(self, result: CompletionResult) -> bool:
        """Whether the row of this result is not there. Raises `ConfigError` where the answer to another request is.

        A batch was deleted then, and its id used again.
        """
        if result.job_id not in self._keys:
            return True
        row = output_row(result)
        if _job_and_answer(row) in self._keys or f"{result.job_id}\0" in self._keys:
            return False
        raise ConfigError(
            f"{self.name} holds the answer to another request as {result.job_id}: its batch was deleted, and the id "
            "used again; name another file, or move this one away"
        )

    def lines(self) -> Iterator[dict[str, Any]]:
        """The rows currently in the file; none for a device or a pipe."""
        if not self.rows:
            return
        with self._path.open("rb") as file:
            yield from filter(None, map(_output_row, file))

    def rewrite(self, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        """Atomically replace each row with what `change` returns for it; a row for which that is None is removed.

        Removed rows are appended to a file next to this one whose name ends in `.old`. Raises `ConfigError`.
        """
        try:
            with append_private(self.replaced_path) as old:
                self._replace(change, old)
            if self._file is not None:
                self._file.close()
            self._file = self._locked()
            self._keys, self.rows, self.failed = Digests(), 0, 0
            self._read(self._file)
        except OSError as exc:
            raise ConfigError(f"cannot rewrite {self.name}: {exc.strerror}") from exc

    @property
    def replaced_path(self) -> Path:
        """Where `rewrite` keeps the rows that it removes."""
        return self._path.with_name(f"{self._path.name}.old")

    def _opened(self) -> IO[bytes]:
        if str(self._path) == "-":
            return sys.stdout.buffer
        if self._path.exists() and not stat.S_ISREG(self._path.stat().st_mode):
            return self._path.open("wb")  # a device or a pipe keeps nothing
        file = self._locked()
        try:
            self._repair(file)
            if self._again and self._drop_failed():
                file.close()
                file = self._locked()
            self._read(file)
        except BaseException:
            file.close()
            raise
        return file

    def _locked(self) -> IO[bytes]:
        file = open_private(self._path, "a+b")
        if not self._lock:
            return file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise ConfigError(f"another windfall process is writing to {self.name}") from None
        return file

    def _repair(self, file: IO[bytes]) -> None:
        """Remove a last line only if a kill cut it off; add a missing line ending to a complete one."""
        file.seek(0)
        end, line, other, ours = 0, b"\n", "", self._batch is None or self._shared
        for number, line in enumerate(file, 1):
            row = _output_row(line)
            if row is not None and not ours:
                other = other or str(row["id"])
                ours = batch_of(str(row["id"])) == self._batch
            if row is None and line.strip():
                if _is_cut_off(line):
                    if other and not ours:
                        self._refuse_others(other)
                    os.ftruncate(file.fileno(), end)
                    return
                raise ConfigError(
                    f"line {number} of {self.name} is not an output line; name a file written by windfall, or a new one"
                )
            end += len(line)
        if other and not ours:
            self._refuse_others(other)
        if not line.endswith(b"\n"):
            file.write(b"\n")
            file.flush()

    def _refuse_others(self, row_id: str) -> None:
        found = batch_of(row_id)
        if found is None:
            raise ConfigError(f"{self.name} has the row {row_id!r}, which belongs to no batch; name another file")
        other = repr(found)[1:-1]  # escapes control characters, which the file may contain
        command = f"windfall results {shlex.quote(other)} --follow -o {shlex.quote(self.name)}"
        raise ConfigError(
            f"{self.name} holds results of batch {other}; name another file, or move this one. "
            f"({command} fetches the rest of that batch)"
        )

    def _drop_failed(self) -> bool:
        """Put a copy without the failed rows in the file's place; False where none failed."""

        def drops(row: dict[str, Any]) -> bool:
            return row["error"] is not None and (self._batch is None or batch_of(str(row["id"])) == self._batch)

        with self._path.open("rb") as file:
            failed = any(row and drops(row) for row in map(_output_row, file))
        if failed:
            self._replace(lambda row: None if drops(row) else row, None)
        return failed

    def _replace(self, change: Callable[[dict[str, Any]], dict[str, Any] | None], old: IO[bytes] | None) -> None:
        """Atomically replace the file with a changed copy; removed rows are on disk in `old` before that."""
        path = self._path.resolve()  # a symbolic link to the file stays one
        copy = path.with_name(f".{path.name}.tmp")
        with path.open("rb") as file, replacement(copy, like=os.fstat(file.fileno())) as new:
            for line in file:
                row = _output_row(line)
                changed = row and change(row)
                if changed is not None:
                    new.write(line if changed == row else encode_row(changed))
                elif row is not None and old is not None:
                    old.write(line)
            for written in (old, new):
                if written is not None:
                    written.flush()
                    os.fsync(written.fileno())
        copy.replace(path)

    def _read(self, file: IO[bytes]) -> None:
        file.seek(0)
        for line in file:
            row = _output_row(line)
            if row is not None:
                self._remember(row)

    def _remember(self, row: dict[str, Any]) -> None:
        self._keys.add(self._key(row))
        if self._batch is not None:
            self._keys.add(_job_and_answer(row))
        self.rows += 1
        self.failed += row["error"] is not None


def _output_row(line: bytes) -> dict[str, Any] | None:
    try:
        row = from_json(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and row.keys() >= _ENVELOPE else None


def _is_cut_off(line: bytes) -> bool:
    return not line.endswith(b"\n") and line[: len(_BEGINNING)] == _BEGINNING[: len(line)]
