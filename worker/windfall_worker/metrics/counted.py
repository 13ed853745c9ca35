"""What is counted as it happens. All names and labels of these metrics are in this file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from windfall.errors import BackendError
from windfall.keys import lane_parts
from windfall.result import Attempt, JobState
from windfall_worker.recorder import Recorder, Step

_WAITS: Final = (0.01, 0.1, 1, 10, 60, 300, 1800, 3600, 4 * 3600, 12 * 3600, 24 * 3600)  # seconds, as all of these
_ATTEMPTS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
_TRIPS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)


class Counted(Recorder):
    """A recorder that counts into a registry of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        lane, backend = ["model", "route"], ["model", "backend"]
        self._jobs = Counter(
            "windfall_jobs", "Jobs whose result Redis accepted from this worker.", [*lane, "state"], registry=registry
        )
        self._wait = Histogram(
            "windfall_job_wait_seconds",
            "Time from enqueueing until a backend first received the job.",
            lane,
            buckets=_WAITS,
            registry=registry,
        )
        self._returns = Counter(
            "windfall_job_returns",
            "Jobs put back or passed on: retry, snooze, requeue, drain, fallback.",
            [*lane, "why"],
            registry=registry,
        )
        self._attempts = Counter(
            "windfall_attempts", "Attempts that ended, as recorded in the ledgers.", [*backend, "outcome", "error"],
            registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "windfall_attempt_seconds", "Duration of attempts that reached a backend.", backend, buckets=_ATTEMPTS,
            registry=registry,
        )  # fmt: skip
        self._tokens = Counter(
            "windfall_tokens", "Tokens that attempts reported; cached ones are also prompt tokens.", [*backend, "kind"],
            registry=registry,
        )  # fmt: skip
        self._claims = Histogram(
            "windfall_claim_seconds", "Round-trip time of claims.", buckets=_TRIPS, registry=registry
        )  # fmt: skip
        self._refused = Counter(
            "windfall_ends_refused", "Results and returns that Redis refused.", ["answer"], registry=registry
        )
        self._lost = Counter(
            "windfall_leases_lost",
            "Running jobs found to be held by another claim, or gone.",
            ["why"],
            registry=registry,
        )
        self._failures = Counter(
            "windfall_redis_failures", "Steps with Redis that failed.", ["step"], registry=registry
        )  # fmt: skip
        self._missed = Counter("windfall_heartbeats_missed", "Heartbeats that could not be written.", registry=registry)
        self._backlog = Gauge(
            "windfall_backlog_jobs", "Jobs of a lane that are waiting to be claimed.", lane, registry=registry
        )  # fmt: skip
        for step in ("claim", "renew", "deliver", "look"):
            self._failures.labels(step)  # 0 from the start: the first failure is an increase

    def claimed(self, seconds: float) -> None:
        """Count a claim's round trip."""
        self._claims.observe(seconds)

    def began(self, lane: str, waited: float) -> None:
        """Count how long a job waited."""
        self._wait.labels(*_lane(lane)).observe(waited)

    def attempted(self, lane: str, attempt: Attempt) -> None:
        """Count an attempt that ended."""
        model, backend = _lane(lane)[0], attempt.backend
        error = attempt.error.type if attempt.error else ""
        self._attempts.labels(model, backend, attempt.outcome, error if error in _known_errors() else "other").inc()
        if attempt.outcome != "skipped" and attempt.duration is not None:
            self._seconds.labels(model, backend).observe(attempt.duration)
        if usage := attempt.usage:
            self._tokens.labels(model, backend, "prompt").inc(usage.prompt_tokens)
            self._tokens.labels(model, backend, "completion").inc(usage.completion_tokens)
            self._tokens.labels(model, backend, "cached").inc(usage.cached_tokens)

    def returned(self, lane: str, why: str) -> None:
        """Count a job that went back to its lane, or on to the next backend."""
        self._returns.labels(*_lane(lane), why).inc()

    def finished(self, lane: str, state: JobState) -> None:
        """Count an accepted result."""
        self._jobs.labels(*_lane(lane), state.value).inc()

    def refused(self, answer: str) -> None:
        """Count a refused result or return."""
        self._refused.labels(answer).inc()

    def leases_lost(self, count: int, why: Literal["held", "gone"]) -> None:
        """Count running jobs that another claim holds, or that are gone."""
        self._lost.labels(why).inc(count)

    def redis_failed(self, step: Step) -> None:
        """Count a failed step."""
        if step == "heartbeat":
            self._missed.inc()
        else:
            self._failures.labels(step).inc()

    def waits(self, lane: str, jobs: int) -> None:
        """Set a lane's backlog."""
        self._backlog.labels(*_lane(lane)).set(jobs)


def _lane(lane: str) -> tuple[str, str]:
    """The labels of a lane. Only lanes that this worker serves are counted, so there are few."""
    model, route = lane_parts(lane) or ("", "")
    return model, str(route)


@cache
def _known_errors() -> frozenset[str]:
    """Every `type` of our errors, and "" for a completed attempt: an endpoint's own words must not become labels."""
    return frozenset({"", *(error.type for error in _errors(BackendError))})


def _errors(error: type[BackendError]) -> Iterator[type[BackendError]]:
    yield error
    for each in error.__subclasses__():
        yield from _errors(each)
