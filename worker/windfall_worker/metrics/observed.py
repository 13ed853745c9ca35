"""What is read when Prometheus scrapes: between scrapes it costs nothing.

`collect` runs in the thread of the endpoint. It only reads single values and copies, and waits for nothing: the
counters of an engine are those of its last beat.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from windfall.runtime.extras import DISTRIBUTION
from windfall_worker.backends.routing import GuardedBackend, ModelBackends
from windfall_worker.control import Steerable
from windfall_worker.guards.breaker import Breaker
from windfall_worker.queue.lanes import LaneGroup

_STATES: Final = ("closed", "half-open", "open")


class Observed(Collector):
    """The state of one worker."""

    def __init__(self, worker: Steerable, groups: Sequence[LaneGroup], backends: Mapping[str, ModelBackends]) -> None:
        self._worker = worker
        self._groups = groups
        self._backends = backends
        self._reasons: set[str] = set()  # all so far: an alert must end with a 0, not with a missing series

    def describe(self) -> Iterable[Metric]:
        """All metrics, without values."""
        return _Families().all()

    def collect(self) -> Iterator[Metric]:
        """All metrics with their current values."""
        families = _Families()
        families.build.add_metric([version(DISTRIBUTION)], 1)
        self._look_at_worker(families)
        seen: set[str] = set()
        for model, served_by in self._backends.items():
            for guarded in served_by.all():
                breaker = guarded.breaker
                if breaker and breaker.name not in seen:
                    seen.add(breaker.name)
                    _look_at_breaker(breaker, families)
            if served_by.local:
                _look_at_engine(model, served_by.local, families)
        yield from families.all()

    def _look_at_worker(self, families: _Families) -> None:
        for group in self._groups:
            labels = [group.model, "cloud" if group.cloud else "local"]
            capacity = group.capacity
            families.slots.add_metric(labels, capacity.slots)
            families.used.add_metric(labels, min(capacity.held, capacity.slots))
            families.free.add_metric(labels, max(0, capacity.slots - capacity.held))
            families.held.add_metric(labels, capacity.held)
        shut = set(self._worker.gate.reasons)
        self._reasons |= shut
        for reason in sorted(self._reasons):
            families.paused.add_metric([reason], int(reason in shut))
        families.paused.add_metric(["draining"], int(self._worker.gate.draining))
        families.waiting.add_metric([], self._worker.ends_waiting)


def _look_at_breaker(breaker: Breaker, families: _Families) -> None:
    for state in _STATES:
        families.breakers.add_metric([breaker.name, state], int(breaker.state == state))


def _look_at_engine(model: str, guarded: GuardedBackend, families: _Families) -> None:
    families.up.add_metric([model], int(guarded.backend.available))
    beat = guarded.backend.beat
    if beat is None:
        return
    families.steps.add_metric([model], beat.step)
    for kind, seconds in (("busy", beat.busy), ("stalled", beat.stalled), ("idle", beat.idle)):
        families.seconds.add_metric([model, kind], seconds)
    counted = {"generated": beat.generated_tokens, "prefill": beat.prefill_tokens, "cached": beat.cached_tokens}
    for kind, tokens in counted.items():
        families.tokens.add_metric([model, kind], tokens)
    families.memory.add_metric([model], beat.memory)
    families.sequences.add_metric([model, "active"], beat.active)
    families.sequences.add_metric([model, "waiting"], beat.waiting)


class _Families:
    """One of each metric, for one scrape. All names and labels of these metrics are here."""

    def __init__(self) -> None:
        gauge, counter = GaugeMetricFamily, CounterMetricFamily
        place, model = ["model", "place"], ["model"]
        self.build = gauge("windfall_build_info", "The version of this worker; always 1.", labels=["version"])
        self.slots = gauge("windfall_slots", "Jobs that may run at once.", labels=place)
        self.used = gauge("windfall_slots_used", "Slots with a job.", labels=place)
        self.free = gauge("windfall_slots_free", "Slots without a job.", labels=place)
        self.held = gauge("windfall_jobs_held", "Claimed jobs: running, or waiting here for a slot.", labels=place)
        self.paused = gauge(
            "windfall_paused", "1 while this reason keeps the worker from claiming jobs.", labels=["reason"]
        )
        self.waiting = gauge("windfall_ends_waiting", "Results and returns that Redis has yet to accept.")
        self.breakers = gauge(
            "windfall_breaker_state", "1 for the state that this worker last saw.", labels=["breaker", "state"]
        )
        self.up = gauge("windfall_engine_up", "1 while the model's backend on this machine takes calls.", labels=model)
        self.steps = counter("windfall_engine_steps", "Decoding steps.", labels=model)
        self.seconds = counter(
            "windfall_engine_seconds",
            "Time in steps (busy), with work but no step (stalled), otherwise (idle).",
            labels=["model", "kind"],
        )
        self.tokens = counter(
            "windfall_engine_tokens", "Tokens generated, computed from prompts (prefill), or reused (cached).",
            labels=["model", "kind"],
        )  # fmt: skip
        self.memory = gauge("windfall_engine_memory_bytes", "Memory that MLX holds.", labels=model)
        self.sequences = gauge(
            "windfall_engine_sequences", "Completions in the engine: active, waiting.", labels=["model", "state"]
        )

    def all(self) -> list[Metric]:
        """Every one of them."""
        return list(vars(self).values())
