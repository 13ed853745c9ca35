"""`windfall worker install` and what belongs to it, with programs that stand in for launchd and systemd."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from acceptance.commands import Shell, named_rows
from acceptance.service_programs import Record, put_on_path
from helpers.waiting import until
from windfall import keys

MODEL = "[models.small]\nsimulate = 0.0\n"
SETTINGS = f"[worker]\ndrain_timeout = 5\n{MODEL}"


class Machine:
    """A user's home on a machine with one of the two service managers."""

    def __init__(self, folder: Path, program: str, redis_url: str) -> None:
        self.home = folder / "home"
        self.shell = Shell(folder)
        self.config = folder / "windfall" / "windfall.toml"
        self.env_file = folder / "windfall" / "worker.env"
        # Without /bin, where macOS has its own launchctl.
        bin_folder = put_on_path(program, folder / "bin")
        self.record = Record(bin_folder)
        self.shell.environment |= {
            "PATH": f"{bin_folder}:/usr/bin:/usr/sbin",
            "HOME": str(self.home),
            "XDG_STATE_HOME": str(self.home / ".local" / "state"),
        }
        self.config.parent.mkdir()
        self.config.write_text(SETTINGS)
        self.env_file.touch(mode=0o600)
        self.env_file.write_text(f"WINDFALL_REDIS_URL={redis_url}\n")
        self.redis_url = redis_url
        places = {
            "systemctl": (folder / "systemd" / "user" / "windfall-worker.service", ".local/state/windfall/worker.log"),
            "launchctl": (
                self.home / "Library" / "LaunchAgents" / "io.windfall.windfall-worker.plist",
                "Library/Logs/windfall/worker.log",
            ),
        }
        self.unit, log = places[program]
        self.log = self.home / log

    @property
    def pid(self) -> int:
        found: int = self.record.read()["pid"]
        return found

    def until_ready(self, times: int = 1) -> None:
        until(lambda: self.log.exists() and self.log.read_text().count("ready: ") >= times, "the service being ready")

    def fleet(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.shell("fleet", "--json", "--redis", self.redis_url).out)[
            "workers"
        ]
        return found


@contextmanager
def managed(folder: Path, program: str, redis_url: str) -> Iterator[Machine]:
    """A machine on which nothing runs on when the test is over."""
    machine = Machine(folder, program, redis_url)
    yield machine
    with suppress(ProcessLookupError):
        if pid := machine.record.update(stopping=True).get("pid"):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(params=["systemctl", "launchctl"])
def either(tmp_path: Path, redis_url: str, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A Linux machine, then a Mac."""
    with managed(tmp_path, request.param, redis_url) as machine:
        yield machine


@pytest.fixture
def machine(tmp_path: Path, redis_url: str) -> Iterator[Machine]:
    """For what is no matter of the service manager."""
    with managed(tmp_path, "launchctl", redis_url) as machine:
        yield machine


def test_a_worker_becomes_a_service_and_is_one_no_longer(either: Machine) -> None:
    windfall = either.shell
    assert windfall("worker", "status").code == 3
    done = windfall("worker", "install")
    assert done.code == 0, done.err
    assert f"wrote {either.unit}" in done.out
    either.until_ready()
    assert [worker["pid"] for worker in either.fleet()] == [either.pid]
    status = windfall("worker", "status")
    assert status.code == 0
    assert f"running: pid {either.pid}, for " in status.out
    assert "ready: serves small (simulated, 32 slots)" in windfall("worker", "logs", "-n", "1").out
    done = windfall("worker", "uninstall")
    assert done.code == 0, done.err
    assert "draining" in done.err
    assert not either.unit.exists()
    assert "drained" in either.log.read_text().splitlines()[-1]
    assert either.fleet() == []
    for kept in (either.config, either.env_file, either.log):
        assert kept.exists()
        assert str(kept) in done.out
    assert windfall("worker", "status").code == 3
    assert "nothing to uninstall" in windfall("worker", "uninstall").err


def test_a_second_service_is_refused_unless_it_replaces_the_first_which_ends_its_running_job(either: Machine) -> None:
    either.config.write_text("[worker]\ndrain_timeout = 30\n[models.small]\nsimulate = 5.0\n")
    windfall = either.shell
    windfall.write("in.jsonl", named_rows(1))
    assert windfall("worker", "install").code == 0
    either.until_ready()
    first = either.pid
    refused = windfall("worker", "install")
    assert refused.code == 1
    assert (
        f"the worker is already installed as a service ({either.unit}, pid {first}); replace it with --force"
        in refused.err
    )
    assert either.pid == first
    batch = windfall("submit", "in.jsonl", "--model", "small", "--redis", either.redis_url).out.strip()
    with redis.Redis.from_url(either.redis_url) as client:
        until(lambda: client.exists(f"{keys.HOLDER}{batch}:1"), "the job running")
    replaced = windfall("worker", "install", "--force")
    assert replaced.code == 0, replaced.err
    done = json.loads(windfall("result", f"{batch}:1", "--json", "--redis", either.redis_url).out)
    assert (done["state"], len(done["attempts"])) == ("completed", 1)
    either.until_ready(2)
    assert either.pid != first
    assert "drained" in either.log.read_text()
    assert [worker["pid"] for worker in either.fleet()] == [either.pid]


def test_a_service_that_fails_says_how_it_ended_and_why(either: Machine) -> None:
    either.env_file.write_text("WINDFALL_REDIS_URL=redis://:s3cret@127.0.0.1:1\n")
    windfall = either.shell
    assert windfall("worker", "install").code == 0
    until(lambda: either.record.read()["code"] == 1, "the worker having failed")
    assert "it last ended with exit code 1; windfall worker logs says why" in windfall("worker", "status").out
    said = windfall("worker", "logs").out
    assert "Redis at redis://:***@127.0.0.1:1 cannot be reached" in said
    assert "s3cret" not in said
    assert windfall("worker", "uninstall").code == 0


def test_a_dry_run_shows_everything_and_does_nothing(machine: Machine) -> None:
    machine.env_file.unlink()
    done = machine.shell("worker", "install", "--dry-run")
    assert done.code == 0
    assert f"would write {machine.unit}:" in done.out
    assert f"would write {machine.env_file}, empty and readable only by you" in done.out
    assert "--env-file" in done.out
    assert not machine.unit.exists()
    assert not machine.env_file.exists()
    assert machine.record.read() == {}


@pytest.mark.parametrize(
    ("settings", "keys", "said"),
    [
        (None, "", "a service reads its settings from {config}, which does not exist"),
        ("", "", "{config} names no model to serve"),
        ("[models.m]\nsimulat = 0\n", "", "model 'm', simulat: unknown field; did you mean 'simulate'?"),
        (f"[worker]\nleese = 5\n{MODEL}", "", "[worker], leese: unknown field; did you mean 'lease'?"),
        ('[models.m]\nmlx = "/no/folder"\n', "", "/no/folder: there is no such folder"),
        ('[models.m]\ncloud = ["openai:x"]\n', "", "provider openai needs OPENAI_API_KEY, which a service reads from"),
        (SETTINGS, "sk-secret\n", "worker.env, line 1: not KEY=VALUE"),
    ],
)
def test_nothing_is_written_where_the_service_could_not_run(
    machine: Machine, settings: str | None, keys: str, said: str
) -> None:
    machine.config.unlink()
    if settings is not None:
        machine.config.write_text(settings)
    machine.env_file.write_text(keys)
    done = machine.shell("worker", "install")
    assert done.code == 1
    assert said.format(config=machine.config) in done.err
    assert "secret" not in done.err
    assert not machine.unit.exists()
    assert machine.record.read() == {}


def test_files_with_secrets_that_others_can_read_are_refused(machine: Machine) -> None:
    machine.env_file.chmod(0o640)
    assert f"run: chmod 600 {machine.env_file}" in machine.shell("worker", "install").err
    machine.env_file.chmod(0o600)
    machine.config.write_text(f'redis = "redis://:s3cret@h"\n{SETTINGS}')
    machine.config.chmod(0o644)
    done = machine.shell("worker", "install")
    assert f"run: chmod 600 {machine.config}" in done.err
    assert "s3cret" not in done.err
    assert not machine.unit.exists()


def test_a_redis_that_only_the_shell_knows_is_not_forgotten(machine: Machine) -> None:
    machine.env_file.write_text("")
    machine.shell.environment["WINDFALL_REDIS_URL"] = "redis://:s3cret@mini.local"
    done = machine.shell("worker", "install")
    assert done.code == 1
    assert "WINDFALL_REDIS_URL is redis://:***@mini.local in this shell, which a service does not see" in done.err


def test_trust_in_a_settings_file_that_only_the_shell_has_is_not_forgotten(machine: Machine) -> None:
    machine.config.chmod(0o666)
    machine.shell.environment["WINDFALL_TRUSTED_CONFIG"] = str(machine.config)
    done = machine.shell("worker", "install", "--dry-run")
    assert done.code == 1
    assert f"set WINDFALL_TRUSTED_CONFIG={machine.config} if you trust what it says: as a line of" in done.err
    with machine.env_file.open("a") as file:
        file.write(f"WINDFALL_TRUSTED_CONFIG={machine.config}\n")
    del machine.shell.environment["WINDFALL_TRUSTED_CONFIG"]
    assert machine.shell("worker", "install", "--dry-run").code == 0


def test_logs_are_followed(machine: Machine) -> None:
    machine.log.parent.mkdir(parents=True)
    machine.log.write_text("one\ntwo\nthree\n")
    assert machine.shell("worker", "logs", "-n", "2").out == "two\nthree\n"
    with machine.shell.started("worker", "logs", "--follow", "-n", "1") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"three\n"
        with machine.log.open("a") as file:
            file.write("four\n")
        assert process.stdout.readline() == b"four\n"
        machine.log.rename(machine.log.with_suffix(".log.1"))
        machine.log.write_text("five\n")
        assert process.stdout.readline() == b"five\n"


def test_what_came_before_the_log_was_open_is_shown_with_it(machine: Machine) -> None:
    errors = machine.log.with_name("worker.stderr.log")
    errors.parent.mkdir(parents=True)
    errors.write_text("No module named windfall\n")
    done = machine.shell("worker", "logs")
    assert (done.code, done.out) == (0, "No module named windfall\n")
    assert done.err == f"{errors} has errors from before the log was opened; its last lines:\n"
    machine.log.write_text("one\n")
    now = machine.log.stat().st_mtime
    os.utime(errors, (now + 60, now + 60))
    done = machine.shell("worker", "logs")
    assert done.out == "No module named windfall\none\n"
    assert done.err.endswith(f"{machine.log} is older:\n")
    os.utime(errors, (now, now))
    assert machine.shell("worker", "logs").out == "one\n"
