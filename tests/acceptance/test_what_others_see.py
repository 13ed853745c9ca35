"""What a command shows to others on the machine, and what others' text does to a person's terminal."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest

from acceptance.commands import Shell, named_rows
from acceptance.terminal import terminal
from helpers.processes import children
from helpers.requests import request
from helpers.workers import simulated, worker
from integration.test_embedded_broker import folder, what_a_stranger_can
from windfall import Producer
from windfall.request import CompletionRequest
from windfall.result import Completion
from windfall_worker.backends.base import Call
from windfall_worker.backends.simulated import SimulatedBackend

__all__ = ["folder"]

HOSTILE = "a\x1b]0;owned\x07b\x1b[2Jc\x9b31md\u202ee👩\u200d💻\tf"
SHOWN = r"a\x1b]0;owned\x07b\x1b[2Jc\x9b31md\u202ee"


@pytest.fixture
def windfall(tmp_path: Path, redis_url: str) -> Shell:
    return Shell(tmp_path, redis_url)


@pytest.fixture
async def hostile_job(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A job whose answer and custom_id are hostile."""

    async def complete(self: SimulatedBackend, call: Call) -> Completion:
        del self, call
        return Completion(content=HOSTILE)

    monkeypatch.setattr(SimulatedBackend, "complete", complete)
    asked: CompletionRequest = request(custom_id=HOSTILE)
    async with worker(simulated(), redis_url), Producer(redis_url) as producer:
        batch = await producer.enqueue_batch([asked], batch_id="b")
        async for _ in producer.results(batch.id):
            pass
    return "b:1"


@pytest.mark.parametrize("command", [("result",), ("result", "--json"), ("status", "--json"), ("results",)])
async def test_no_control_code_of_an_answer_reaches_a_terminal(
    windfall: Shell, hostile_job: str, command: tuple[str, ...]
) -> None:
    name = "b" if command == ("results",) else hostile_job

    def typed() -> bytes:
        with terminal(windfall, *command, name) as screen:
            assert screen.ended() == 0
            return screen.raw

    raw = (await asyncio.to_thread(typed)).decode()
    assert not [char for char in raw if (ord(char) < 32 and char not in "\r\n\t") or 127 <= ord(char) < 160]
    assert "\u202e" not in raw
    assert "owned" in raw
    if command == ("result",):
        assert SHOWN in raw
        assert "👩\u200d💻\tf" in raw.replace("      f", "\tf")
    elif command != ("results",):
        assert json.loads(raw)["completion"]["content"] == HOSTILE


async def test_in_a_pipe_an_answer_is_what_the_model_said(windfall: Shell, hostile_job: str) -> None:
    done = await asyncio.to_thread(windfall, "result", hostile_job)
    assert done.out == HOSTILE + "\n"
    rows = await asyncio.to_thread(windfall, "results", "b")
    row = json.loads(rows.out)
    assert row["custom_id"] == HOSTILE
    assert row["response"]["body"]["choices"][0]["message"]["content"] == HOSTILE


async def test_what_is_said_on_stderr_holds_no_control_code(windfall: Shell) -> None:
    done = await asyncio.to_thread(windfall, "status", "no\x1b[2Jsuch")
    assert done.code == 1
    assert "\x1b" not in done.err


def test_a_password_on_the_command_line_is_warned_of_and_one_in_a_file_is_not(windfall: Shell, redis_url: str) -> None:
    url = redis_url.replace("redis://", "redis://:S3CRET@")
    done = windfall("batches", "--redis", url)
    assert done.err.startswith("warning: anyone who can list this machine's processes can read the password in --redis")
    assert "S3CRET" not in done.err
    path = windfall.folder / "redis.url"
    path.write_text(redis_url)
    path.chmod(0o600)
    done = windfall("batches", "--redis", f"@{path}")
    assert (done.code, "warning" in done.err) == (0, False)


def test_nobody_else_can_open_the_broker_of_a_run_or_read_its_output(windfall: Shell, folder: Path) -> None:
    temporary = folder.parent
    windfall.environment["TMPDIR"] = str(temporary)
    windfall.write("in.jsonl", named_rows(20))
    before = os.umask(0o022)
    try:
        command = ("run", "in.jsonl", "-o", "out.jsonl", "--model", "any", "--simulate", "0.5", "--slots", "1")
        with windfall.started(*command) as process:
            windfall.until_lines("out.jsonl", 1)
            (found,) = temporary.glob("windfall-run-*")
            assert (found / "redis.sock").is_socket()
            assert what_a_stranger_can(found) == []
            below = [str(pid) for child in children(process.pid) for pid in children(child)]
            asking = ["ps", "-ww", "-p", ",".join(below), "-o", "command="]
            listing = subprocess.run(asking, capture_output=True, text=True, check=True).stdout
            (title,) = (line for line in listing.splitlines() if "redis-server" in line)
            assert "127.0.0.1" not in title
    finally:
        os.umask(before)
    assert (windfall.folder / "out.jsonl").stat().st_mode & 0o777 == 0o600
