"""A Mac's sleep, as announced by IOKit.

Written from Apple's documentation of IORegisterForSystemPower and its Technical Q&A QA1340.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from windfall_worker.citizen.sleep import PATIENCE, Sleeps, SleepWatch, Wakes

logger = logging.getLogger("windfall.citizen")

# IOKit/IOMessage.h
CAN_SLEEP: Final = 0xE0000270  #: it would like to sleep because it is idle; must be answered
WILL_SLEEP: Final = 0xE0000280  #: it will sleep in any case; must be answered when we are ready
WILL_NOT_SLEEP: Final = 0xE0000290  #: another program objected
HAS_POWERED_ON: Final = 0xE0000300

_FRAMEWORKS: Final = "/System/Library/Frameworks"
_CALLBACK: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)
#: Seconds between the thread's checks whether it should end.
_TURN: Final = 1.0
#: kCFRunLoopRunFinished: there was nothing to listen to, so it did not wait.
_FINISHED: Final = 1


class PowerMessages:
    """Handles IOKit's messages, which arrive on a thread of their own."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sleeps: Sleeps, wakes: Wakes, *, patience: float = PATIENCE
    ) -> None:
        self._loop = loop
        self._sleeps = sleeps
        self._wakes = wakes
        self._patience = patience

    def hear(self, kind: int, answer: Callable[[], None]) -> None:
        """Handle one message; `answer` lets the machine proceed."""
        try:
            with suppress(RuntimeError):  # the worker has ended
                if kind == WILL_SLEEP:
                    self._get_ready()
                elif kind in {HAS_POWERED_ON, WILL_NOT_SLEEP}:
                    self._loop.call_soon_threadsafe(self._wakes)
        finally:
            if kind in {WILL_SLEEP, CAN_SLEEP}:
                answer()

    def _get_ready(self) -> None:
        ready = self._sleeps()
        try:
            done = asyncio.run_coroutine_threadsafe(ready, self._loop)
        except RuntimeError:
            ready.close()
            raise
        try:
            done.result(self._patience)
        except TimeoutError:
            done.cancel()
            logger.warning("the machine sleeps before its jobs are handed back: they wait until their leases expire")
        except Exception:  # whatever it was, the machine must not wait for it
            logger.exception("could not get ready for the machine's sleep")


class IOKitSleepWatch(SleepWatch):
    """Listens on a thread, because IOKit delivers its messages to a run loop."""

    async def run(self, sleeps: Sleeps, wakes: Wakes) -> None:
        """Watch until cancelled; without IOKit, nothing ever happens."""
        messages = PowerMessages(asyncio.get_running_loop(), sleeps, wakes)
        ended = threading.Event()
        threading.Thread(target=_listen, args=(messages, ended), name="windfall-sleep", daemon=True).start()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()


def _listen(messages: PowerMessages, ended: threading.Event) -> None:
    try:
        iokit = ctypes.CDLL(f"{_FRAMEWORKS}/IOKit.framework/IOKit")
        core = ctypes.CDLL(f"{_FRAMEWORKS}/CoreFoundation.framework/CoreFoundation")
        _declare(iokit, core)
        mode = ctypes.c_void_p.in_dll(core, "kCFRunLoopDefaultMode")
    except (OSError, AttributeError, ValueError) as exc:
        logger.warning("this worker will not notice when the machine sleeps: %s", exc)
        return
    port, notifier = ctypes.c_void_p(), ctypes.c_uint32()
    root = 0

    def hear(_refcon: int | None, _service: int, kind: int, argument: int | None) -> None:
        messages.hear(kind, lambda: iokit.IOAllowPowerChange(root, argument or 0))

    callback = _CALLBACK(hear)  # keeps it alive: Python does not know about IOKit's reference
    root = iokit.IORegisterForSystemPower(None, ctypes.byref(port), callback, ctypes.byref(notifier))
    if not root:
        logger.warning("this worker will not notice when the machine sleeps: IORegisterForSystemPower failed")
        return
    source = core.CFRunLoopGetCurrent(), iokit.IONotificationPortGetRunLoopSource(port), mode
    core.CFRunLoopAddSource(*source)
    while not ended.is_set():
        if core.CFRunLoopRunInMode(mode, _TURN, False) == _FINISHED:  # noqa: FBT003 - a C function
            ended.wait(_TURN)
    core.CFRunLoopRemoveSource(*source)
    iokit.IODeregisterForSystemPower(ctypes.byref(notifier))
    iokit.IOServiceClose(root)
    iokit.IONotificationPortDestroy(port)


def _declare(iokit: ctypes.CDLL, core: ctypes.CDLL) -> None:
    """Declare each function's types for ctypes, which otherwise truncates pointers to their lower half."""
    pointer, number, whole = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int32
    notifier = ctypes.POINTER(number)
    iokit.IORegisterForSystemPower.argtypes = [pointer, ctypes.POINTER(pointer), _CALLBACK, notifier]
    iokit.IORegisterForSystemPower.restype = number
    iokit.IOAllowPowerChange.argtypes = [number, ctypes.c_ssize_t]
    iokit.IOAllowPowerChange.restype = whole
    iokit.IODeregisterForSystemPower.argtypes = [notifier]
    iokit.IODeregisterForSystemPower.restype = whole
    iokit.IOServiceClose.argtypes = [number]
    iokit.IOServiceClose.restype = whole
    iokit.IONotificationPortGetRunLoopSource.argtypes = [pointer]
    iokit.IONotificationPortGetRunLoopSource.restype = pointer
    iokit.IONotificationPortDestroy.argtypes = [pointer]
    iokit.IONotificationPortDestroy.restype = None
    core.CFRunLoopGetCurrent.argtypes = []
    core.CFRunLoopGetCurrent.restype = pointer
    for change in (core.CFRunLoopAddSource, core.CFRunLoopRemoveSource):
        change.argtypes = [pointer, pointer, pointer]
        change.restype = None
    core.CFRunLoopRunInMode.argtypes = [pointer, ctypes.c_double, ctypes.c_ubyte]
    core.CFRunLoopRunInMode.restype = whole
