"""The command line as a user types it: real processes in a folder of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.fork_server import run_windfall
from helpers.processes import environment
from helpers.waiting import until


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str


class Shell:
    """A folder in which `windfall …` is typed. `redis_url` reaches the commands by the environment."""

    def __init__(self, folder: Path, redis_url: str | None = None) -> None:
        self.folder = folder
        self.environment = environment() | {"XDG_CONFIG_HOME": str(folder), "PYTHONPATH": _absolute_python_path()}
        if redis_url:
            self.environment["WINDFALL_REDIS_URL"] = redis_url

    def __call__(self, *args: str, stdin: bytes = b"") -> Finished:
        """Type a command, and wait for its end. Fails where there is a traceback, whatever the command was."""
        done = run_windfall(args, folder=self.folder, environment=self.environment, stdin=stdin)
        finished = Finished(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in finished.err, finished.err
        return finished

    @contextmanager
    def started(self, *args: str) -> Iterator[subprocess.Popen[bytes]]:
        """Type a command that goes on; it is killed at the end, if it still runs."""
        process = subprocess.Popen(
            self._command(args), cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_hear_interrupts,  # noqa: PLW1509 - no threads here
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    @contextmanager
    def worker(self, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
        """A worker that is ready."""
        with self.started("worker", *flags) as process:
            assert process.stderr is not None
            said: list[bytes] = []
            while not said or (said[-1] and b"ready: " not in said[-1]):
                said.append(process.stderr.readline())
            assert said[-1], b"".join(said).decode()
            yield process

    def write(self, name: str, rows: Iterable[object]) -> Path:
        """A JSONL file; bytes stay as they are."""
        path = self.folder / name
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        path.write_bytes(b"\n".join([*lines, b""]))
        return path

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The output lines of a file."""
        return [json.loads(line) for line in (self.folder / name).read_text(encoding="utf-8").splitlines()]

    def until_lines(self, name: str, count: int) -> None:
        """Wait until a file has so many lines."""
        path = self.folder / name
        until(lambda: path.exists() and path.read_bytes().count(b"\n") >= count, f"{count} lines in {name}")

    @staticmethod
    def _command(args: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "windfall", *args]


def _hear_interrupts() -> None:
    """What a shell starts in the background ignores SIGINT, and so do its children; a person's terminal does not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def chat(text: str, **fields: Any) -> dict[str, Any]:
    """A bare body."""
    return {"messages": [{"role": "user", "content": text}], **fields}


def named_rows(count: int) -> list[dict[str, Any]]:
    """OpenAI Batch lines `c1`, `c2`, …, without a model."""
    return [
        {"custom_id": f"c{n}", "method": "POST", "url": "/v1/chat/completions", "body": chat(f"row {n}")}
        for n in range(1, count + 1)
    ]


def is_plain(text: str) -> bool:
    """Whether it holds no control character but line ends."""
    return all(char == "\n" or char.isprintable() for char in text)


def _absolute_python_path() -> str:
    """For a checkout that is run without being installed: the commands have a working folder of their own."""
    return os.pathsep.join(str(Path(part).resolve()) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep))
