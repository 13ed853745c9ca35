"""A progress bar in a Jupyter notebook: one output that is updated."""

from __future__ import annotations

import html
import sys
import time
from types import TracebackType
from typing import Any, Final, Self

_PERIOD: Final = 0.25  # seconds between updates


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    return "ipykernel" in sys.modules


class NotebookProgress:
    """The same methods as `RowProgress`; without `shown` it shows nothing."""

    def __init__(self, what: str, *, shown: bool = True) -> None:
        self._what = what
        self._shown = shown
        self._handle: Any = None
        self._updated = 0.0
        self._facts: tuple[int, int | None, int] = (0, None, 0)
        self._remark = ""

    def __enter__(self) -> Self:
        if self._shown:
            from IPython.display import HTML, display  # noqa: PLC0415 - only in a notebook

            self._handle = display(HTML(self.drawn()), display_id=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._show()

    def begin(self, what: str) -> None:
        """Show a new task."""
        self._what = what
        self._show()

    def update(self, done: int, total: int | None, failed: int, *, paused: bool = False) -> None:
        """Show these numbers."""
        self._facts = (done, total, failed)
        self._remark = " (paused)" if paused else ""
        if time.monotonic() - self._updated >= _PERIOD:
            self._show()

    def drawn(self) -> str:
        """The bar as HTML; what comes from outside is escaped."""
        done, total, failed = self._facts
        share = f' value="{done}" max="{total}"' if total else ""
        text = f"{done:,}/{total:,}" if total else f"{done:,}"
        worse = f", {failed:,} failed" if failed else ""
        return f"{html.escape(self._what)} <progress{share}></progress> {text}{worse}{self._remark}"

    def _show(self) -> None:
        if self._handle is not None:
            from IPython.display import HTML  # noqa: PLC0415 - only in a notebook

            self._handle.update(HTML(self.drawn()))
            self._updated = time.monotonic()
