"""The log of `windfall worker`, as a program and as a person reads it."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
import redis

from acceptance.commands import Shell, chat
from helpers.waiting import PATIENCE

PASSWORD = "a-secret-password"  # noqa: S105 - of this test
PROMPT = "nobody else's business"


@pytest.fixture
def private_url(redis_url: str) -> Iterator[str]:
    """The address of a user with a password."""
    with redis.Redis.from_url(redis_url) as client:
        client.execute_command("ACL", "SETUSER", "logged", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        yield redis_url.replace("redis://", f"redis://logged:{PASSWORD}@")
        client.execute_command("ACL", "DELUSER", "logged")


def test_a_worker_without_a_terminal_logs_json_that_names_job_and_attempt_and_holds_no_secret(
    tmp_path: Path, private_url: str
) -> None:
    windfall = Shell(tmp_path, private_url)
    windfall.write("in.jsonl", [chat(PROMPT, model="m")] * 3)
    with windfall.worker("--simulate", "m=0", "--log-level", "debug") as process:
        batch = json.loads(windfall("submit", "in.jsonl", "--wait", "--json").out.splitlines()[0])["id"]
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert PASSWORD.encode() not in said
    assert PROMPT.encode() not in said
    lines = [json.loads(line) for line in said.splitlines()]
    assert lines[-1]["event"] == "drained"
    ended = [line for line in lines if line["event"].endswith("completed")]
    assert sorted(line["job"] for line in ended) == [f"{batch}:{row}" for row in (1, 2, 3)]
    assert {(line["batch"], line["model"], line["attempt"], line["backend"]) for line in ended} == {
        (batch, "m", 1, "simulated")
    }
    assert len({line["worker"] for line in ended}) == 1


def test_a_worker_in_a_terminal_speaks_to_a_person(tmp_path: Path, redis_url: str) -> None:
    windfall = Shell(tmp_path, redis_url)
    command = ["-m", "windfall", "worker", "--simulate", "m=0", "--log-level", "info"]
    spawn: Any = pexpect.spawn  # it has no types
    terminal = spawn(
        sys.executable, command, cwd=str(tmp_path), env=windfall.environment | {"NO_COLOR": "1"}, timeout=PATIENCE,
        encoding="utf-8", dimensions=(24, 200),
    )  # fmt: skip
    terminal.expect(r"(?m)^ready: serves m")
    windfall.write("in.jsonl", [chat("hi", model="m")])
    batch = windfall("submit", "in.jsonl", "--wait").out.strip()
    terminal.expect(rf"\[info +\] job {batch}:1 completed .*job={batch}:1")
    terminal.sendintr()
    terminal.expect("drained")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
