"""What is written for launchd and systemd, read by parsers of theirs; and what their programs say of a service."""

from __future__ import annotations

import configparser
import os
import plistlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from windfall.errors import ConfigError
from windfall.service import launchd
from windfall.service.launchd import LABEL, Launchd
from windfall.service.plan import Plan
from windfall.service.programs import Ran
from windfall.service.state import State, running_for
from windfall.service.systemd import UNIT, Systemd

FOLDER = Path("/home/ann o'neill/100% $mine")


@pytest.fixture
def plan() -> Plan:
    python = Path("/bin/sh")  # systemd-analyze wants one that is there
    return Plan(FOLDER / "windfall.toml", FOLDER / "worker.env", FOLDER / "worker.log", 45.0, python)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


class Programs:
    """Answers each program by its first telling word, and remembers what was run."""

    def __init__(self, **answers: Ran) -> None:
        self.answers = answers
        self.ran: list[tuple[str, ...]] = []

    def __call__(self, command: Sequence[str]) -> Ran:
        self.ran.append(tuple(command))
        words = [word.replace("-", "_") for word in command]
        return next((answer for word, answer in self.answers.items() if word in words), Ran(0))


def test_the_property_list_says_what_runs_and_that_a_drain_has_its_time(plan: Plan) -> None:
    found = plistlib.loads(Launchd().render(plan))
    assert found["Label"] == LABEL
    assert found["ProgramArguments"] == plan.command
    assert found["RunAtLoad"] is True
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["ExitTimeOut"] > 45
    assert found["ThrottleInterval"] >= 10


def test_the_unit_says_what_runs_and_that_a_drain_has_its_time(plan: Plan) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(Systemd().render(plan).decode())
    service = parser["Service"]
    assert service["Restart"] == "on-failure"
    assert service["KillSignal"] == "SIGTERM"
    assert int(service["TimeoutStopSec"]) > 45
    assert service["ExecStart"].startswith("/bin/sh -P -m windfall worker --config ")
    assert '"/home/ann o\'neill/100%% $$mine/windfall.toml"' in service["ExecStart"]


def test_systemd_itself_finds_nothing_wrong_with_the_unit(plan: Plan, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        pytest.skip("there is no systemd-analyze here")
    unit = tmp_path / UNIT
    unit.write_bytes(Systemd().render(plan))
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}  # which a machine without a session lacks
    command = [analyze, "--user", "verify", str(unit)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_lies_in_the_home_folder_is_not_taken_for_a_package(plan: Plan, home: Path) -> None:
    (home / "redis.py").write_text("raise SystemExit('that of the home folder')")
    words = [sys.executable, *plan.command[1 : plan.command.index("worker")], "--version"]
    path = os.pathsep.join(str(Path(part).resolve()) for part in sys.path if part)
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(words, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# The forms that launchctl print is known to have, with the fields of an end point further in.
RUNNING = "gui/501/x = {\n\tactive count = 1\n\tstate = running\n\tpid = 38837\n\tlast exit code = (never exited)\n\tendpoints = {\n\t\tpid = 7\n\t}\n}\n"  # noqa: E501
KILLED = "gui/501/x = {\n\tstate = running\n\truns = 48\n\tpid = 5\n\tlast terminating signal = Killed: 9\n\tendpoints = {\n\t\tlast exit code = 0\n\t}\n}\n"  # noqa: E501
FAILED = "gui/501/x = {\n\tstate = spawn scheduled\n\truns = 3325\n\tlast exit code = 78: EX_CONFIG\n}\n"
DRAINED = "gui/501/x = {\n\tstate = not running\n\tlast exit code = 0\n}\n"


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (Ran(0, RUNNING), State(loaded=True, pid=38837)),
        (Ran(0, KILLED), State(loaded=True, pid=5, last_exit="signal 9")),
        (Ran(0, FAILED), State(loaded=True, last_exit="exit code 78")),
        (Ran(0, DRAINED), State(loaded=True, last_exit="exit code 0")),
        (Ran(113, "", "Could not find service"), State()),
    ],
)
def test_what_launchctl_says_is_understood(said: Ran, state: State) -> None:
    assert Launchd(Programs(print=said)).state() == state


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("LoadState=loaded\nMainPID=812\nExecMainCode=0\nExecMainStatus=0\n", State(loaded=True, pid=812)),
        (
            "LoadState=loaded\nMainPID=0\nExecMainCode=1\nExecMainStatus=1\n",
            State(loaded=True, last_exit="exit code 1"),
        ),
        ("LoadState=loaded\nMainPID=0\nExecMainCode=2\nExecMainStatus=9\n", State(loaded=True, last_exit="signal 9")),
        ("LoadState=not-found\nMainPID=0\n", State()),
        ("", State()),
    ],
)
def test_what_systemctl_says_is_understood(said: str, state: State) -> None:
    assert Systemd(Programs(show=Ran(0, said))).state() == state


NO_DOMAIN = Ran(125, "", "Bootstrap failed: 125: Domain does not support specified action\n")


def test_a_service_that_cannot_be_started_leaves_no_unit_behind(plan: Plan) -> None:
    manager = Launchd(Programs(bootstrap=NO_DOMAIN, print=Ran(113)))
    with pytest.raises(ConfigError, match="does not support specified action; log in at this Mac's own screen first"):
        manager.install(plan)
    assert not manager.unit.exists()


def test_a_unit_that_systemd_cannot_start_is_not_linked_for_the_next_login_either(plan: Plan) -> None:
    programs = Programs(enable=Ran(1, "", "Job for windfall-worker.service failed.\n"))
    manager = Systemd(programs)
    with pytest.raises(ConfigError, match=r"Job for windfall-worker\.service failed; log in as yourself"):
        manager.install(plan)
    assert not manager.unit.exists()
    assert [words[2] for words in programs.ran[-2:]] == ["disable", "daemon-reload"]


@pytest.mark.parametrize(
    ("again", "said"),
    [(Ran(0), "the previous service is running again"), (NO_DOMAIN, "was restored for the next login")],
)
def test_the_service_of_before_is_put_back_where_the_new_one_cannot_be_started(
    plan: Plan, again: Ran, said: str
) -> None:
    starts = iter([Ran(0), NO_DOMAIN, again])
    loaded = False

    def run(command: Sequence[str]) -> Ran:
        nonlocal loaded
        word = command[1]
        if word == "print":
            return Ran(0, DRAINED) if loaded else Ran(113)
        ran = next(starts) if word == "bootstrap" else Ran(0)
        loaded = word == "bootstrap" and not ran.code
        return ran

    manager = Launchd(run)
    manager.install(plan)
    before = manager.unit.read_bytes()
    with pytest.raises(ConfigError, match=f"does not support specified action; .*; .*{said}"):
        manager.install(replace(plan, drain_timeout=90.0))
    assert manager.unit.read_bytes() == before
    assert loaded == (again.code == 0)


@pytest.mark.parametrize("code", [0, 3, 36])
def test_a_bootout_that_is_begun_is_waited_for(monkeypatch: pytest.MonkeyPatch, plan: Plan, code: int) -> None:
    monkeypatch.setattr(launchd, "_LOOK", 0.0)
    looks = iter([Ran(0, RUNNING), Ran(0, RUNNING), Ran(0, DRAINED), Ran(113)])
    said = Ran(code, "", f"Boot-out failed: {code}: Operation now in progress\n" if code else "")
    manager = Launchd(lambda command: next(looks) if command[1] == "print" else said)
    manager.unit.parent.mkdir(parents=True)
    manager.unit.touch()
    manager.uninstall()
    assert not manager.unit.exists()
    assert list(looks) == []


def test_a_bootout_that_is_refused_leaves_the_unit(plan: Plan) -> None:
    manager = Launchd(Programs(print=Ran(0, RUNNING), bootout=Ran(1, "", "Boot-out failed: 1: Not permitted\n")))
    manager.unit.parent.mkdir(parents=True)
    manager.unit.touch()
    with pytest.raises(ConfigError, match="Boot-out failed: 1: Not permitted"):
        manager.uninstall()
    assert manager.unit.exists()


@pytest.mark.parametrize("code", [5, 37])
def test_a_label_that_launchd_still_cleans_up_is_waited_for_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, code: int
) -> None:
    monkeypatch.setattr(launchd, "_LOOK", 0.0)
    busy = Ran(code, "", f"Bootstrap failed: {code}: it is busy\n")
    starts = iter([busy, busy, Ran(0)])
    answers = {"print": lambda: Ran(113), "bootstrap": lambda: next(starts)}
    Launchd(lambda command: answers[command[1]]()).install(plan)
    assert list(starts) == []
    monkeypatch.setattr(launchd, "_CLEANING_UP", -1.0)
    with pytest.raises(ConfigError, match=f"Bootstrap failed: {code}: it is busy"):
        Launchd(Programs(print=Ran(113), bootstrap=busy)).install(plan)


def test_the_folder_of_the_log_is_there_before_launchd_needs_it(plan: Plan) -> None:
    manager = Launchd(Programs(print=Ran(113)))
    manager.install(plan)
    assert manager.unit.read_bytes() == manager.render(plan)
    assert manager.log_file.parent.is_dir()


ELAPSED = [("   01:07\n", 67.0), ("   03:01:07\n", 10867.0), ("2-03:01:07\n", 183667.0), ("", None)]


@pytest.mark.parametrize(("said", "seconds"), ELAPSED)
def test_the_elapsed_time_of_ps_is_understood(said: str, seconds: float | None) -> None:
    assert running_for(Programs(ps=Ran(0, said)), 7) == seconds


def test_without_ps_nobody_knows_how_long_it_has_run() -> None:
    def no_ps(_: Sequence[str]) -> Ran:
        raise ConfigError("cannot run ps: No such file or directory")

    assert running_for(no_ps, 7) is None
