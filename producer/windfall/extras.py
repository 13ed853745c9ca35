"""What is installed only where it is wanted, and how."""

from __future__ import annotations

from typing import Final

NO_WORKER: Final = 'this needs the worker extra: pip install "windfall[worker]"'
