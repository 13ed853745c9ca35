"""A full-screen page that refreshes itself until `q` or Ctrl-C, and then restores the terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.live import Live

from windfall.runtime.tasks import cancel_all, wait_for

#: Seconds after which it is redrawn even if nothing is new: the times that it shows keep growing.
_REDRAW: Final = 1.0


class LivePage:
    """Draws what `render` returns for the terminal's width and height."""

    def __init__(self, render: Callable[[int, int], RenderableType]) -> None:
        self._render = render
        self._changed = asyncio.Event()
        self._quit = False

    def redraw(self) -> None:
        """Redraw: there is something new to see."""
        self._changed.set()

    async def show(self, looking: Coroutine[Any, Any, None]) -> None:
        """Show the page while `looking` keeps it up to date, or until the user quits."""
        console = Console()
        task = asyncio.create_task(looking)
        with _keys(self._typed), _resized(self.redraw), Live(console=console, screen=True, auto_refresh=False) as live:
            try:
                while not self._quit and not task.done():
                    self._changed.clear()
                    live.update(self._render(console.width, console.height), refresh=True)
                    await wait_for(self._changed, within=_REDRAW)
            finally:
                await cancel_all([task])
        if task.done() and not task.cancelled():
            task.result()

    def _typed(self, keys: bytes) -> None:
        if not keys or b"q" in keys.lower():  # an empty read means that the terminal is gone
            self._quit = True
            self.redraw()


@contextmanager
def _resized(on_resize: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, on_resize)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


@contextmanager
def _keys(on_keys: Callable[[bytes], None]) -> Iterator[None]:
    """Read single keys without echo. Ctrl-C keeps its meaning."""
    if not sys.stdin.isatty():
        yield
        return
    loop, terminal = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    loop.add_reader(terminal, lambda: on_keys(os.read(terminal, 64)))
    try:
        yield
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
