"""The sleep of the machine: what is answered to IOKit and when, and that it is noticed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from helpers.waiting import eventually
from windfall.runtime.tasks import cancel_all
from windfall_worker.citizen.iokit import (
    CAN_SLEEP,
    HAS_POWERED_ON,
    WILL_NOT_SLEEP,
    WILL_SLEEP,
    IOKitSleepWatch,
    PowerMessages,
)
from windfall_worker.citizen.slept import log_sleep


class Story:
    """What happened, in its order."""

    def __init__(self, sleeping: Callable[[], object] = lambda: None, takes: float = 0.0) -> None:
        self.told: list[str] = []
        self._sleeping = sleeping
        self._takes = takes

    async def sleeps(self) -> None:
        self.told.append("sleeps")
        await asyncio.sleep(self._takes)
        self._sleeping()
        self.told.append("ready")

    def wakes(self) -> None:
        self.told.append("wakes")

    async def hears(self, kind: int, patience: float = 20.0) -> list[str]:
        """As IOKit has it: in a thread, while the worker's loop goes on."""
        messages = PowerMessages(asyncio.get_running_loop(), self.sleeps, self.wakes, patience=patience)
        await asyncio.to_thread(messages.hear, kind, lambda: self.told.append("answered"))
        await asyncio.sleep(0)
        return self.told


async def test_the_machine_sleeps_when_the_worker_is_ready() -> None:
    assert await Story(takes=0.05).hears(WILL_SLEEP) == ["sleeps", "ready", "answered"]


async def test_a_worker_that_does_not_get_ready_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    assert await Story(takes=60).hears(WILL_SLEEP, patience=0.05) == ["sleeps", "answered"]
    assert "before its jobs are handed back" in caplog.text


async def test_a_worker_that_fails_to_get_ready_is_answered_for_too(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("a bug")

    assert await Story(fail).hears(WILL_SLEEP) == ["sleeps", "answered"]
    assert "could not get ready" in caplog.text


async def test_a_question_is_answered_at_once_and_waking_up_not_at_all() -> None:
    assert await Story().hears(CAN_SLEEP) == ["answered"]
    assert await Story().hears(HAS_POWERED_ON) == ["wakes"]
    assert await Story().hears(WILL_NOT_SLEEP) == ["wakes"]
    assert await Story().hears(0xE0000320) == []  # it will power on: Apple wants no answer


def test_a_message_that_comes_after_the_worker_has_ended_is_answered() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    story = Story()
    messages = PowerMessages(loop, story.sleeps, story.wakes)
    messages.hear(WILL_SLEEP, lambda: story.told.append("answered"))
    messages.hear(HAS_POWERED_ON, lambda: None)
    assert story.told == ["answered"]


async def test_the_watch_on_sleep_goes_on_until_it_is_ended() -> None:
    story = Story()
    watch = asyncio.create_task(IOKitSleepWatch().run(story.sleeps, story.wakes))
    done, _ = await asyncio.wait([watch], timeout=0.2)
    assert not done
    await cancel_all([watch])
    assert story.told == []


async def test_a_machine_that_slept_is_told_of_with_how_long(caplog: pytest.LogCaptureFixture) -> None:
    slept, looks = 0.0, 0

    def always() -> float:
        nonlocal looks
        looks += 1
        return 1000.0 + looks + slept

    async def looked_since(before: int) -> bool:
        return looks >= before + 3

    telling = asyncio.create_task(log_sleep(period=0.01, awake=lambda: float(looks), always=always))
    try:
        await eventually(lambda: looked_since(0))
        assert caplog.records == []
        slept = 3600.0
        before = looks
        await eventually(lambda: looked_since(before))
    finally:
        await cancel_all([telling])
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert said == ["this machine slept for 3600 s"]
