"""What an engine prints is in the worker's log, line by line."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from windfall.runtime.tasks import wait_for
from windfall_worker.engine import link
from windfall_worker.engine.link import EngineLink
from windfall_worker.engine.protocol import Load
from windfall_worker.engine.settings import EngineSettings
from windfall_worker.engine.words import Words


async def test_what_a_process_prints_comes_line_by_line_up_to_its_last_word(caplog: pytest.LogCaptureFixture) -> None:
    words = await Words.listen()
    program = (
        "import os, sys; print('libc++abi: 100 % gone'); print('10%\\r20%\\r30%', file=sys.stderr)\n"
        "os.write(2, b'\\xff Insufficient Memory'); os.abort()"
    )
    command = (sys.executable, "-u", "-c", program)
    process = await asyncio.create_subprocess_exec(*command, stdout=words.file, stderr=words.file)
    os.close(words.file)
    assert await wait_for(words.ended, within=60)
    assert await process.wait() != 0
    said = [record.getMessage() for record in caplog.records if record.name == "windfall.engine.words"]
    assert said == ["libc++abi: 100 % gone", "30%", "\N{REPLACEMENT CHARACTER} Insufficient Memory"]
    words.close()


async def test_an_engine_that_left_somebody_behind_with_its_pipe_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_LAST_WORDS", 0.2)
    words = await Words.listen()
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", "sleep 600 & exit 3", stdout=words.file, stderr=words.file, start_new_session=True
    )
    os.close(words.file)
    engine = EngineLink(process, Load(model="m", name="m", slots=1, settings=EngineSettings()), words)
    try:
        engine.connection_lost(None)
        async with asyncio.timeout(60):
            assert await engine.ended() == "ended with status 3"
        assert await wait_for(words.ended, within=60)  # closed here, though the other end is held
    finally:
        os.killpg(process.pid, signal.SIGKILL)


async def test_a_line_without_an_end_is_cut_and_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    words = await Words.listen()
    os.close(words.file)
    words.data_received(b"x" * 20_000)
    words.data_received(b"y\n")
    assert [len(record.getMessage()) for record in caplog.records] == [20_000, 1]
    assert await wait_for(words.ended, within=60)
    words.close()
