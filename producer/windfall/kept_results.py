"""The results of a named `windfall.run`, kept in a private file, so that a later call continues."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from windfall.config.private import open_private
from windfall.errors import ConfigError, InvalidRequest, WireError
from windfall.result import CompletionResult
from windfall.wire import decode_result, encode_result

_NAME: Final = re.compile(r"[\w.-]{1,100}")


class KeptResults:
    """Results by key, in memory and, with a name, in a file of lines; those that failed are kept in memory alone.

    Raises `ConfigError` if another process is using the same name, or the file cannot be written, and `InvalidRequest`
    for a name that is no file's.
    """

    def __init__(self, name: str | None) -> None:
        if name is not None and (not _NAME.fullmatch(name) or name.startswith(".")):
            raise InvalidRequest(f"a name is 1 to 100 letters, digits, '.', '-' and '_', not {name!r}")
        self._path = None if name is None else state_folder() / "runs" / f"{name}.jsonl"
        self._file: IO[bytes] | None = None
        self._results: dict[str, CompletionResult] = {}
        self.batch: tuple[str, tuple[str, ...]] | None = (
            None  #: a batch whose results are still to be fetched: id, keys
        )

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._file = open_private(self._path, "a+b")
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._file is not None:
                    self._file.close()
                raise ConfigError(f"another process is running under the name {self._path.stem!r}") from None
            except OSError as exc:
                raise ConfigError(f"cannot write to {self._path}: {exc.strerror}") from exc
            self._file.seek(0)
            self._read(self._file)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def has(self, key: str) -> bool:
        """Whether there is a result under this key that need not be asked for again."""
        return key in self._results and self._results[key].ok

    def result(self, key: str) -> CompletionResult:
        """The result under this key. Raises `KeyError`."""
        return self._results[key]

    def add(self, key: str, result: CompletionResult) -> None:
        """Keep a result."""
        self._results[key] = result
        if result.ok:
            self._write({"key": key, "result": encode_result(result, "").decode()})

    def note_batch(self, batch_id: str, keys: Sequence[str]) -> None:
        """Note that this batch's rows have these keys, before it is submitted."""
        self.batch = (batch_id, tuple(keys))
        self._write({"batch": batch_id, "keys": list(keys)})

    def forget_batch(self) -> None:
        """Note that all results of the batch are here."""
        self.batch = None
        self._write({"batch": None})

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()
        except OSError as exc:
            raise ConfigError(f"cannot write to {self._path}: {exc.strerror}") from exc

    def _read(self, file: IO[bytes]) -> None:
        for text in file:
            try:
                self._take(json.loads(text))
            except (ValueError, KeyError, TypeError, WireError):
                continue  # cut off by a kill, or of another version: it is asked for again
        file.seek(0, os.SEEK_END)
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")

    def _take(self, line: dict[str, Any]) -> None:
        if "key" in line:
            self._results[line["key"]] = decode_result(line["result"].encode())
        elif "batch" in line:
            self.batch = (line["batch"], tuple(line["keys"])) if line["batch"] else None


def state_folder() -> Path:
    """Where this user's programs keep what they continue with: `$XDG_STATE_HOME/windfall`."""
    given = os.environ.get("XDG_STATE_HOME", "")
    return (Path(given) if given.startswith("/") else Path.home() / ".local" / "state") / "windfall"
