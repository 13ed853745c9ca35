"""The machine is kept awake while jobs run: a `caffeinate` of the test's own writes down what it lives through."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from helpers.processes import environment
from helpers.waiting import eventually
from windfall.runtime.tasks import cancel_all
from windfall_worker.citizen import awake
from windfall_worker.citizen.awake import Awake, awake_command
from windfall_worker.citizen.macos import output_of

COMMAND = ["caffeinate", "-is", "-w", str(os.getpid())]


class Caffeinate:
    """A program that does what caffeinate does, but for the awakeness: it ends when told, or with the process of -w."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "log"
        self._log.touch()
        script = f"""#!/bin/sh
echo "start $*" >>{self._log}
trap 'echo end >>{self._log}; exit 0' TERM INT
while kill -0 "$3" 2>/dev/null; do sleep 0.05; done
echo "end with $3" >>{self._log}
"""
        program = folder / "caffeinate"
        program.write_text(script)
        program.chmod(0o755)

    @property
    def log(self) -> list[str]:
        return self._log.read_text().splitlines()

    async def has_written(self, *lines: str) -> None:
        async def written() -> bool:
            return self.log == list(lines)

        await eventually(written, what=f"{lines} in place of {self.log}")


@pytest.fixture
def caffeinate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caffeinate:
    """It is the first on PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return Caffeinate(tmp_path)


class Work:
    """Says whether jobs run, and how often that was asked."""

    def __init__(self) -> None:
        self.busy = False
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.busy

    async def is_asked_again(self) -> None:
        before = self.asked

        async def again() -> bool:
            return self.asked >= before + 3

        await eventually(again)


@asynccontextmanager
async def kept_awake(command: list[str] | None, linger: float = 0.0) -> AsyncIterator[Work]:
    work = Work()
    task = asyncio.create_task(Awake(command, work, linger=linger, period=0.02).run())
    try:
        yield work
    finally:
        await cancel_all([task])
        if not task.cancelled():
            task.result()


async def test_the_machine_is_kept_awake_while_jobs_run_and_no_longer(caffeinate: Caffeinate) -> None:
    async with kept_awake(COMMAND) as work:
        await work.is_asked_again()
        assert caffeinate.log == []
        work.busy = True
        start = f"start -is -w {os.getpid()}"
        await caffeinate.has_written(start)
        await work.is_asked_again()
        assert caffeinate.log == [start]
        work.busy = False
        await caffeinate.has_written(start, "end")
        work.busy = True
        await caffeinate.has_written(start, "end", start)


async def test_a_moment_without_jobs_does_not_end_it(caffeinate: Caffeinate) -> None:
    async with kept_awake(COMMAND, linger=60) as work:
        work.busy = True
        await caffeinate.has_written(f"start -is -w {os.getpid()}")
        work.busy = False
        await work.is_asked_again()
        work.busy = True
        await work.is_asked_again()
        assert caffeinate.log == [f"start -is -w {os.getpid()}"]


async def test_the_end_of_the_worker_ends_it(caffeinate: Caffeinate) -> None:
    async with kept_awake(COMMAND, linger=60) as work:
        work.busy = True
        await caffeinate.has_written(f"start -is -w {os.getpid()}")
    assert caffeinate.log[1:] == ["end"]


async def test_it_ends_with_a_worker_that_is_killed(caffeinate: Caffeinate) -> None:
    program = (
        "import asyncio, os; from windfall_worker.citizen.awake import Awake\n"
        "asyncio.run(Awake(['caffeinate', '-is', '-w', str(os.getpid())], lambda: True).run())"
    )
    env = environment() | {"PATH": os.environ["PATH"]}
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=env)
    try:
        await caffeinate.has_written(f"start -is -w {worker.pid}")
    finally:
        worker.kill()
        await worker.wait()
    await caffeinate.has_written(f"start -is -w {worker.pid}", f"end with {worker.pid}")


class Child:
    """A process that a stand-in starts in its turn, and whose number it writes into this file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.noted = f"echo $! >{file}.new; mv {file}.new {file}"  #: what the stand-in's shell has to do

    async def started(self) -> bool:
        return self._file.exists()

    async def gone(self) -> bool:
        state = await output_of("ps", "-o", "stat=", "-p", self._file.read_text().strip())
        return state.strip()[:1] in ("", "Z")


async def test_what_it_runs_in_its_turn_ends_with_it(tmp_path: Path, caffeinate: Caffeinate) -> None:
    child = Child(tmp_path / "child")
    (tmp_path / "caffeinate").write_text(f"#!/bin/sh\nsleep 600 &\n{child.noted}; wait\n")

    async with kept_awake(COMMAND) as work:
        work.busy = True
        await eventually(child.started)
        assert not await child.gone()
    await eventually(child.gone)


async def test_the_worker_goes_on_while_the_program_takes_its_time_to_end(
    tmp_path: Path, caffeinate: Caffeinate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(awake, "_AT_MOST", 10.0)
    may_end = tmp_path / "may-end"
    told = f"echo told >>{tmp_path}/log; until [ -e {may_end} ]; do sleep 0.05; done; echo end >>{tmp_path}/log; exit 0"
    (tmp_path / "caffeinate").write_text(
        f"#!/bin/sh\ntrap '{told}' TERM\necho start >>{tmp_path}/log\nwhile :; do sleep 0.05; done\n"
    )
    async with kept_awake(COMMAND) as work:
        work.busy = True
        await caffeinate.has_written("start")
        work.busy = False
        await caffeinate.has_written("start", "told")
        may_end.touch()
        await caffeinate.has_written("start", "told", "end")


async def test_a_program_that_does_not_end_is_killed_with_what_it_runs(
    tmp_path: Path, caffeinate: Caffeinate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(awake, "_AT_MOST", 0.2)
    child = Child(tmp_path / "child")
    (tmp_path / "caffeinate").write_text(
        f"#!/bin/sh\ntrap '' TERM\nsleep 600 &\n{child.noted}\nwhile :; do wait; done\n"
    )

    async with kept_awake(COMMAND) as work:
        work.busy = True
        await eventually(child.started)
        work.busy = False
        await eventually(child.gone)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\nexit 1\n", "caffeinate ended unexpectedly: this machine may fall asleep while jobs run"),
        ("#!/no/such/shell\n", "caffeinate cannot be started (No such file or directory): this machine may"),
    ],
)
async def test_one_that_does_not_stay_is_said_and_left_at_that(
    tmp_path: Path, caffeinate: Caffeinate, caplog: pytest.LogCaptureFixture, script: str, said: str
) -> None:
    (tmp_path / "caffeinate").write_text(script)
    async with asyncio.timeout(60):
        await Awake(COMMAND, lambda: True, period=0.02).run()
    (warning,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith(said)


@pytest.mark.parametrize("command", [None, ["no-such-caffeinate"]])
async def test_where_there_is_none_a_worker_works_without(command: list[str] | None) -> None:
    async with asyncio.timeout(60):
        await Awake(command, lambda: True, period=0.02).run()


def test_each_system_has_a_command_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert awake_command(7) == ["caffeinate", "-is", "-w", "7"]
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(awake, "_BOOTED", tmp_path / "none")
    assert awake_command(7) is None
    monkeypatch.setattr(awake, "_BOOTED", tmp_path)
    assert (awake_command(7) or [])[-3:] == ["--pid=7", "-f", "/dev/null"]
