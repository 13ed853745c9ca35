"""Files that Windfall makes are their user's alone, and nothing that others planted is written or waited for."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.formats.test_output import completed, failed
from windfall.cli.run_folder import run_folder
from windfall.errors import ConfigError
from windfall.formats import OutputFile
from windfall.formats.output_file import by_job_id
from windfall.service.launchd import Launchd
from windfall.service.plan import Plan
from windfall.service.programs import Ran
from windfall.telemetry import log_file


@pytest.fixture(autouse=True)
def _generous_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_output_file_is_its_users_alone_and_one_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path, shared = tmp_path / "out.jsonl", tmp_path / "shared.jsonl"
    shared.touch()
    shared.chmod(0o664)
    for each in (path, shared):
        with OutputFile(each, by_job_id) as out:
            out.write([completed("b:1")])
    assert (mode(path), mode(shared)) == (0o600, 0o664)


@pytest.mark.parametrize("wanted", [0o600, 0o640, 0o664])
def test_failed_rows_are_taken_out_without_a_change_of_the_files_mode_or_owner(tmp_path: Path, wanted: int) -> None:
    path = tmp_path / "out.jsonl"
    with OutputFile(path, by_job_id) as out:
        out.write([completed("b:1"), failed("b:2")])
    path.chmod(wanted)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    owner = path.stat().st_uid
    with OutputFile(path, by_job_id, again=True) as out:
        assert out.rows == 1
    assert (mode(path), path.stat().st_uid) == (wanted, owner)


def test_failed_rows_are_not_taken_out_through_a_planted_link(tmp_path: Path) -> None:
    path, victim = tmp_path / "out.jsonl", tmp_path / "victim"
    victim.write_text("precious")
    with OutputFile(path, by_job_id) as out:
        out.write([completed("b:1"), failed("b:2")])
    (tmp_path / ".out.jsonl.tmp").symlink_to(victim)
    with OutputFile(path, by_job_id, again=True) as out:
        assert out.rows == 1
    assert victim.read_text() == "precious"
    assert not path.is_symlink()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.jsonl", "victim"]


def test_a_planted_folder_in_the_way_is_told_of_in_a_sentence_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with OutputFile(path, by_job_id) as out:
        out.write([completed("b:1"), failed("b:2")])
    before = path.read_bytes()
    (tmp_path / ".out.jsonl.tmp").mkdir()
    with pytest.raises(ConfigError, match="cannot write to"):
        OutputFile(path, by_job_id, again=True).__enter__()
    assert path.read_bytes() == before


def test_an_output_file_that_is_a_link_of_its_users_stays_one(tmp_path: Path) -> None:
    path, real = tmp_path / "out.jsonl", tmp_path / "disk" / "real.jsonl"
    real.parent.mkdir()
    path.symlink_to(real)
    for again in (False, True):
        with OutputFile(path, by_job_id, again=again) as out:
            out.write([failed("b:2")])
    assert path.is_symlink()
    assert real.read_bytes().count(b"\n") == 1


def test_logs_and_their_folder_are_their_users_alone_also_those_that_are_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "_LARGEST", 100)
    handler = log_file.log_file_handler(tmp_path / "logs" / "worker.log")
    for _ in range(40):
        handler.handle(logging.LogRecord("x", logging.WARNING, "", 0, "a line of some length", (), None))
    handler.close()
    assert mode(tmp_path / "logs") == 0o700
    found = list((tmp_path / "logs").iterdir())
    assert len(found) == 5
    assert {mode(path) for path in found} == {0o600}


def test_what_launchd_writes_to_is_there_before_launchd_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    manager = Launchd(run=lambda command: Ran(113 if command[1] == "print" else 0))
    manager.install(Plan(tmp_path / "windfall.toml", tmp_path / "worker.env", tmp_path / "worker.log", 45.0))
    assert manager.error_file is not None
    assert mode(manager.error_file) == 0o600
    assert mode(manager.error_file.parent) == 0o700


@pytest.mark.parametrize("planted", ["pipe", "link to a pipe", "link to a file", "folder is a link", "nothing"])
def test_nothing_planted_under_the_name_of_a_runs_folder_holds_a_run_up(
    planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").write_text("precious")
    os.mkfifo(elsewhere / "pipe")
    folder = tmp_path / "windfall-run-planted"
    if planted == "folder is a link":
        folder.symlink_to(elsewhere)
    else:
        folder.mkdir()
    match planted:
        case "pipe":
            os.mkfifo(folder / "lock")
        case "link to a pipe":
            (folder / "lock").symlink_to(elsewhere / "pipe")
        case "link to a file":
            (folder / "lock").symlink_to(elsewhere / "lock")
    entered = threading.Event()

    def enter() -> None:
        with run_folder():
            entered.set()

    threading.Thread(target=enter, daemon=True).start()
    assert entered.wait(10), "it waits for what was planted"
    assert (elsewhere / "lock").read_text() == "precious"
    assert folder.exists()
