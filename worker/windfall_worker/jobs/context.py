"""What every job of a worker shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from windfall.broker.clock import RedisClock
from windfall.limits import MAX_ROW_BYTES
from windfall_worker.backends.routing import ModelBackends
from windfall_worker.jobs.decide import Policy
from windfall_worker.recorder import SILENT, Recorder


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What every job of a worker shares.

    `worker` is the worker's id. A job may be claimed `max_deliveries` times without coming to an end, and a row have
    `max_row_bytes`.
    """

    backends: Mapping[str, ModelBackends]
    clock: RedisClock
    policy: Policy
    worker: str
    record: Recorder = SILENT
    max_deliveries: int = 3
    max_row_bytes: int = MAX_ROW_BYTES
