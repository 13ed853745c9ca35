"""The interface between the worker and whatever completes a request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from windfall.fields import HINTS
from windfall.request import CompletionRequest
from windfall.result import Completion, Delta
from windfall.translation import left_out
from windfall_worker.engine.protocol import Beat


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt at one request.

    `attempt` counts from 1. `timeout` is what is left of the job's deadline in seconds, or None. `allowance` multiplies
    the time that the backend itself has. `on_delta` is set if
    the completion may have a follower; it must not block, and it may only be called from the event loop.
    `idempotency_key` is the same for every transport retry of this attempt, and differs for everything else.
    """

    job_id: str
    request: CompletionRequest
    attempt: int = 1
    timeout: float | None = None
    on_delta: Callable[[Delta], None] | None = None
    allowance: float = 1.0

    @property
    def idempotency_key(self) -> str:
        """Identifies this attempt to a backend that can tell a repeat from a new request."""
        return f"windfall-{self.job_id}-{self.attempt}"


class Backend(ABC):
    """Completes requests for one model name.

    A backend is started once, serves many calls at a time, and is closed once. `complete` either returns a completion
    or raises a `windfall.errors.BackendError`; cancelling the task that awaits it frees the call's resources at once.
    """

    #: The name of this backend in the ledger: `mlx`, `openai`, `anthropic`, `simulated`.
    name: str

    #: What the backend itself calls the model, for the ledger; None if only its completions say so.
    model_name: str | None = None

    #: How many calls it works on at once; the worker claims no more jobs than this (and a small prefetch).
    slots: int

    #: How many more calls it wants to have waiting, so that it can choose which to run next.
    lookahead: int = 0

    @abstractmethod
    async def start(self) -> None:
        """Make it ready. Raises `ConfigError` (one sentence) if that can never work."""

    @abstractmethod
    async def complete(self, call: Call) -> Completion:
        """Complete one request. Raises `BackendError`."""

    @abstractmethod
    async def close(self) -> None:
        """Free everything; calls still running end with `BackendUnavailable`. May be called twice."""

    def ignored(self, request: CompletionRequest) -> tuple[str, ...]:
        """The fields of the request that this backend leaves out because they cannot change its answer.

        Here those that a model on this machine has no use for. Marks for a cache are not among them: prefixes that
        requests share are computed once.
        """
        thinking = request.anthropic.thinking if request.anthropic else None
        asked = thinking.model_dump(exclude_none=True) if thinking else request.thinking
        limits = {"budget_tokens", "display"} & set(asked or ())
        names = (name for name in left_out(request, HINTS) if name != "cache_control")
        return (*names, *sorted(f"thinking.{name}" for name in limits))

    @property
    def available(self) -> bool:
        """Whether it would accept calls now: not while an engine restarts or a breaker is known to be open."""
        return True

    @property
    def waits(self) -> str | None:
        """Why it takes no calls until a person does something, and what that is; None otherwise."""
        return None

    async def refresh(self) -> None:  # noqa: B027 - most backends decide about that themselves
        """Find out whether it is available again, if others decide about that."""

    @property
    def beat(self) -> Beat | None:
        """The last beat of the engine behind it; None while there is no engine, and for backends without one."""
        return None

    @property
    def needed_bytes(self) -> int:
        """The least memory that it needs of what all engines on this machine share, once it was started."""
        return 0

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens generated per second at the moment, over all calls; None if they are not counted."""
        return None

    @property
    def worth_holding(self) -> int | None:
        """How many jobs are worth holding: those in progress, and a few that wait their turn. None: all that fit."""
        return None
