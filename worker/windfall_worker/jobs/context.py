"""What all jobs of a worker share."""

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
    """What all jobs of a worker share.

    `worker` is the worker's id. A job may be claimed `max_deliveries` times without an outcome, and a row may be at
    most `max_row_bytes` long.
    """

    backends: Mapping[str, ModelBackends]
    clock: RedisClock
    policy: Policy
    worker: str
    record: Recorder = SILENT
    max_deliveries: int = 3
    max_row_bytes: int = MAX_ROW_BYTES
