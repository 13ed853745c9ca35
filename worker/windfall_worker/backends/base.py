"""The seam between the worker and whatever completes a request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from windfall.request import CompletionRequest
from windfall.result import Completion, Delta
from windfall_worker.engine.protocol import Beat


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt at one request.

    `attempt` counts from 1. `timeout` is what is left of the job's deadline in seconds, or None. `on_delta` is given
    where somebody may follow the completion; it must not block, and it may be called from the event loop only.
    `idempotency_key` is equal for every transport retry of this attempt and for nothing else.
    """

    job_id: str
    request: CompletionRequest
    attempt: int = 1
    timeout: float | None = None
    on_delta: Callable[[Delta], None] | None = None

    @property
    def idempotency_key(self) -> str:
        """Names this attempt to a backend that can tell a repetition from a new request."""
        return f"windfall-{self.job_id}-{self.attempt}"


class Backend(ABC):
    """Completes requests for one model name.

    A backend is started once, serves many calls at a time, and is closed once. `complete` either returns a completion
    or raises a `windfall.errors.BackendError`; cancelling the task that awaits it frees what the call held, at once.
    """

    #: The word for this backend in the ledger: `mlx`, `openai`, `anthropic`, `simulated`.
    name: str

    #: What the backend itself calls the model, for the ledger; None where it says so only in its completions.
    model_name: str | None = None

    #: How many calls it works on at once; the worker claims no more jobs than this (and a small prefetch).
    slots: int

    #: How many more calls it wants waiting at least, so that it can choose whom to run next.
    lookahead: int = 0

    @abstractmethod
    async def start(self) -> None:
        """Make it ready. Raises `ConfigError` (one sentence) when it can never be."""

    @abstractmethod
    async def complete(self, call: Call) -> Completion:
        """Complete one request. Raises `BackendError`."""

    @abstractmethod
    async def close(self) -> None:
        """Free everything; calls still running end with `BackendUnavailable`. May be called twice."""

    def ignored(self, request: CompletionRequest) -> tuple[str, ...]:
        """The fields that the request sets and this backend leaves out, for they cannot change its answer."""
        limits = {"budget_tokens", "display"} & set(request.thinking or ())
        return request.passed_over() + tuple(sorted(f"thinking.{name}" for name in limits))

    @property
    def available(self) -> bool:
        """Whether calls would be taken now: not while an engine starts again or a breaker is known to be open."""
        return True

    @property
    def beat(self) -> Beat | None:
        """The last word on itself of the engine behind it; None while there is none, or where there never is."""
        return None

    @property
    def needed_bytes(self) -> int:
        """What it takes at the least of the memory that all engines of this machine share, once it was started."""
        return 0

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens generated a second just now, all calls together; None where nobody counts."""
        return None

    @property
    def free_slots(self) -> int | None:
        """How many more calls it could work on now, where it knows better than `slots` minus the calls running."""
        return None
