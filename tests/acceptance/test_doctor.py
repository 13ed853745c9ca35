"""`windfall doctor`: each ill is a line that says how it is mended."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from acceptance.commands import Shell
from acceptance.service_programs import Record, put_on_path
from windfall.config.private import create_private


@pytest.fixture
def healthy(redis_url: str) -> Iterator[str]:
    """A Redis as the documentation has it."""
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("appendonly", "yes")
        yield redis_url
        client.config_set("appendonly", "no")
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")


@pytest.fixture
def windfall(tmp_path: Path, healthy: str) -> Shell:
    shell = Shell(tmp_path, healthy)
    shell.environment["HOME"] = str(tmp_path)
    # Before a real one: a service of whoever runs the tests is none of theirs.
    shell.environment["PATH"] = f"{put_on_path('launchctl', tmp_path / 'bin')}:{shell.environment['PATH']}"
    (tmp_path / "windfall").mkdir()
    return shell


def configure(windfall: Shell, text: str) -> Path:
    path = windfall.folder / "windfall" / "windfall.toml"
    path.write_text(text)
    return path


def ills(windfall: Shell) -> list[str]:
    """The lines of what is wrong; the exit code says whether anything is."""
    done = windfall("doctor")
    wrong = [line for line in done.out.splitlines() if line.startswith("✗ ")]
    assert done.code == bool(wrong)
    return wrong


def test_where_nothing_is_wrong_the_exit_code_is_0_and_no_line_a_cross(windfall: Shell) -> None:
    path = configure(windfall, '[models.small]\nmlx = "demo"\n')
    done = windfall("doctor")
    assert done.code == 0, done.out
    # A warning is of the version of the Redis that the tests have.
    assert all(line.startswith(("✓ ", "! Redis ")) for line in done.out.splitlines())
    for said in (
        "it appends every write to a file",
        "of memory left",
        "it runs scripts",
        f"the settings are those of {path}",
        "model small: demo is a folder, and needs about ",
        "this machine gives MLX ",
    ):
        assert said in done.out


def test_for_programs_each_finding_is_an_object(windfall: Shell) -> None:
    configure(windfall, '[models.small]\nmlx = "/no/folder"\n')
    done = windfall("doctor", "--json")
    found = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 1
    assert [each["mend"] for each in found if not each["ok"]] == ["correct it in windfall.toml"]
    assert all(each["mend"] is None for each in found if each["ok"] and not each["warning"])


def test_a_redis_that_evicts_and_is_full_is_told_of(windfall: Shell, healthy: str) -> None:
    with redis.Redis.from_url(healthy) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", client.info()["used_memory"] + 1000)
        wrong = ills(windfall)
        client.config_set("maxmemory", 0)
    assert wrong[0] == "✗ maxmemory-policy is allkeys-lru: it may discard jobs: set maxmemory-policy noeviction"
    assert "of memory left: fetch results and windfall delete" in wrong[1]


def test_a_user_who_may_run_no_scripts_is_told_what_to_ask_for(windfall: Shell, healthy: str) -> None:
    address = healthy.removeprefix("redis://")
    with redis.Redis.from_url(healthy) as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">s3cret", "~*", "&*", "+@all", "-@scripting")
        windfall.environment["WINDFALL_REDIS_URL"] = f"redis://reader:s3cret@{address}"
        try:
            (wrong,) = ills(windfall)
        finally:
            client.execute_command("ACL", "DELUSER", "reader")
    assert wrong.startswith("✗ it does not run scripts (")
    assert wrong.endswith(": give its user the rights listed in docs/operations.md")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[models.m]\nmlx = "/no/folder"\n',
            "✗ model m: /no/folder: there is no such folder: correct it in windfall.toml",
        ),
        ('[models.m]\ncloud = ["openai:x"]\n', "✗ provider openai: the environment variable OPENAI_API_KEY is not set"),
        (
            "[worker]\nleese = 5\n[models.m]\nsimulate = 0.0\n",
            "✗ [worker], leese: unknown field; did you mean 'lease'?",
        ),
        ("modells = 5\n", "unknown key; did you mean 'models'?"),
    ],
)
def test_wrong_settings_are_told_of(windfall: Shell, text: str, said: str) -> None:
    windfall.environment.pop("OPENAI_API_KEY", None)
    configure(windfall, text)
    (wrong,) = ills(windfall)
    assert said in wrong


def test_a_key_in_the_file_of_the_service_is_seen_and_not_shown(windfall: Shell) -> None:
    windfall.environment.pop("OPENAI_API_KEY", None)
    configure(windfall, '[models.m]\ncloud = ["openai:x"]\n')
    create_private(windfall.folder / "windfall" / "worker.env", "OPENAI_API_KEY=s3cret\n")
    done = windfall("doctor")
    assert done.code == 0, done.out
    assert "worker.env sets OPENAI_API_KEY for the service, and only you can read it" in done.out
    assert "s3cret" not in done.out


def test_secrets_that_others_can_read_are_told_of(windfall: Shell) -> None:
    path = configure(windfall, 'redis = "redis://:s3cret@host"\n')
    path.chmod(0o644)
    assert ills(windfall) == [f"✗ {path} holds the password of Redis, and others can read it; run: chmod 600 {path}"]
    path.unlink()
    keys = windfall.folder / "windfall" / "worker.env"
    create_private(keys, "")
    keys.chmod(0o644)
    assert ills(windfall) == [f"✗ {keys} holds keys, and others can read it; run: chmod 600 {keys}"]


def test_a_port_that_is_taken_is_told_of(windfall: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        configure(windfall, f"[worker]\nmetrics_port = {port}\n[models.m]\nsimulate = 0.0\n")
        (wrong,) = ills(windfall)
    assert f"the metrics port 127.0.0.1:{port} cannot be opened" in wrong
    assert f"127.0.0.1:{port} is free" in windfall("doctor").out


@pytest.mark.parametrize(("pid", "ok"), [(os.getpid(), True), (None, False)], ids=["runs", "stopped"])
def test_a_service_that_does_not_run_is_told_of(windfall: Shell, tmp_path: Path, pid: int | None, ok: bool) -> None:  # noqa: FBT001
    unit = tmp_path / "Library" / "LaunchAgents" / "io.windfall.windfall-worker.plist"
    unit.parent.mkdir(parents=True)
    unit.touch()
    Record(tmp_path / "bin").write(command=[], pid=pid, code=None, stopping=False)
    told = windfall("doctor").out
    what = f"running with pid {pid}" if ok else "but it is not running: windfall worker logs says why"
    assert f"{'✓' if ok else '✗'} the worker is a launchd service, {what}\n" in told
