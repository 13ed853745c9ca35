"""The circuit breaker of one endpoint, shared by the whole fleet; and the only module that imports pybreaker.

pybreaker gives the configuration, `is_system_error`, the states, the listeners, the error type and, while Redis is
away or for a breaker that has no Redis, the state machine. It cannot give more: around an `await` it counts a
cancellation as a failure, lets every waiting task through when half-open, and with its own Redis storage every process
sends a probe of its own. So each step that the fleet must agree on is one Lua script (`scripts/`), and this
module joins the two: what Redis says is mirrored into the storage that pybreaker's machine reads.

What a call's end means:

    nothing raised                                              success
    BackendUnavailable, AmbiguousOutcome, InvalidResponse,
    OSError (with it ConnectionError and TimeoutError)          failure
    any other BackendError                                      success: the endpoint answered, if only to refuse
    cancellation, CircuitOpen, any other exception              nothing: it says nothing about the endpoint
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, cast

import pybreaker as pb
from redis.asyncio import Redis

from windfall.errors import AmbiguousOutcome, BackendError, BackendUnavailable, InvalidResponse
from windfall_worker.guards.circuit import (
    BreakerStatus,
    Event,
    SharedCircuit,
    State,
    Verdict,
    close_breaker,
    list_breakers,
    open_breaker,
)
from windfall_worker.guards.mirror import Mirror
from windfall_worker.guards.numbers import FailureRate, Numbers
from windfall_worker.guards.redis_link import RedisLink

__all__ = [
    "Breaker",
    "BreakerStatus",
    "CircuitOpen",
    "FailureRate",
    "Numbers",
    "RedisLink",
    "close_breaker",
    "list_breakers",
    "open_breaker",
]

logger = logging.getLogger(__name__)

_FAILURES: Final = (BackendUnavailable, AmbiguousOutcome, InvalidResponse, OSError)


class CircuitOpen(BackendUnavailable, pb.CircuitBreakerError):
    """The breaker did not let the call through: nothing was sent. `retry_after` is in seconds."""

    type = "circuit_open"
    retry_after: float

    def __init__(self, name: str, retry_after: float) -> None:
        super().__init__(
            f"the circuit breaker of {name} is open; it may be tried again in {retry_after:.1f} s",
            retry_after=retry_after,
        )
        self.name = name


class _Log(pb.CircuitBreakerListener):
    """Writes each change of state to the log, in every process as it notices it."""

    def state_change(self, cb: pb.CircuitBreaker, old_state: Any, new_state: Any) -> None:
        level = logging.WARNING if new_state.name == pb.STATE_OPEN else logging.INFO
        logger.log(level, "the circuit breaker of %s was %s and is %s", cb.name, old_state.name, new_state.name)


class _End(Enum):
    SUCCESS = auto()
    FAILURE = auto()
    NOTHING = auto()


def _meaning(exc: BaseException | None) -> _End:
    if exc is None:
        return _End.SUCCESS
    if isinstance(exc, CircuitOpen):
        return _End.NOTHING
    if isinstance(exc, _FAILURES):
        return _End.FAILURE
    return _End.SUCCESS if isinstance(exc, BackendError) else _End.NOTHING


@dataclass(frozen=True, slots=True)
class _Permit:
    """A call that was let through. `epoch` is Redis' count of periods, `period` this process' own."""

    token: str
    epoch: int
    period: int
    probe: bool
    local: bool


class Breaker:
    """Lets calls through, one probe at a time, or none: `async with breaker.guard(): ...` is the whole interface.

    `fail_max` failures in a row open it, or too high a failure rate, whichever comes first. After `reset_timeout`
    seconds one call in the whole fleet goes as a probe, on a lease of `probe_lease` seconds that is renewed for as long
    as the call takes. Without a Redis, or while it does not answer, the same numbers hold in this process. Give all
    breakers of one Redis the same `RedisLink`, so that they notice an outage together. `listeners` are pybreaker's;
    they must not block or raise. `clock` is what times go by in this process (seconds).
    """

    def __init__(
        self,
        name: str,
        redis: Redis | RedisLink | None,
        *,
        fail_max: int = 5,
        rate: FailureRate = FailureRate(),  # noqa: B008 - it is frozen
        reset_timeout: float = 30.0,
        probe_lease: float = 10.0,
        listeners: Sequence[pb.CircuitBreakerListener] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.numbers = Numbers(fail_max, rate, reset_timeout, probe_lease)
        link = RedisLink(redis) if isinstance(redis, Redis) else redis
        self._shared = None if link is None else SharedCircuit(name, link, self.numbers)
        self._mirror = Mirror(self.numbers, clock)
        self._machine = pb.CircuitBreaker(
            fail_max,
            reset_timeout,
            exclude=[lambda exc: _meaning(exc) is not _End.FAILURE],
            listeners=[_Log(), *listeners],
            state_storage=cast(pb.CircuitBreakerStorage, self._mirror),
            name=name,
            throw_new_error_on_trip=False,
        )
        self._process = secrets.token_hex(6)
        self._calls = itertools.count()
        self._steps: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"Breaker({self.name!r}, {self._mirror.state})"

    @property
    def machine(self) -> pb.CircuitBreaker:
        """pybreaker's view of it. What is done to it by hand holds in this process until Redis says otherwise."""
        return self._machine

    @property
    def state(self) -> State:
        """`closed`, `open` or `half-open`, as far as this process knows."""
        return self._mirror.state

    @property
    def is_open(self) -> bool:
        """Whether a call made now would be refused, as far as this process knows."""
        return self._mirror.state == pb.STATE_OPEN and self._mirror.seconds_left > 0

    async def status(self) -> BreakerStatus:
        """The state that the fleet shares; while Redis is away, that of this process."""
        verdict = await self._tell("look") if self._shared else None
        if verdict is not None:
            return verdict.status(self.name)
        mirror = self._mirror
        left = 0.0 if mirror.state == pb.STATE_CLOSED else mirror.seconds_left
        return BreakerStatus(self.name, mirror.state, mirror.counter, left)

    @asynccontextmanager
    async def guard(self, reading: Callable[[Exception], Exception] | None = None) -> AsyncIterator[None]:
        """Let the call in the block through, and learn from how it ends. Raises `CircuitOpen` in its place.

        `reading` says what an exception that is not one of ours means; the exception itself goes on as it is.
        """
        permit = await self._admit()
        renewal = asyncio.create_task(self._renew(permit)) if permit.probe and not permit.local else None
        try:
            yield
        except Exception as exc:
            meant = reading(exc) if reading else exc
            self._count(permit, meant)
            await self._to_the_end(self._settle(permit, meant, self._mirror.tally.new_streak))
            raise
        except BaseException:
            if permit.probe:
                await self._to_the_end(self._give_back(permit))
            raise
        else:
            self._count(permit, None)
            if permit.probe:
                await self._to_the_end(self._settle(permit, None))
            else:
                await self._settle(permit, None)
        finally:
            if renewal:
                renewal.cancel()

    async def _admit(self) -> _Permit:
        token = f"{self._process}-{next(self._calls)}"
        try:
            verdict = await self._tell("admit", token)
        except asyncio.CancelledError:
            # The lease may have been granted all the same.
            self._start(self._release(token))
            raise
        if verdict is None:
            permit = self._admit_locally(token)
        elif verdict.granted:
            permit = _Permit(token, verdict.epoch, self._mirror.period, probe=verdict.granted == 2, local=False)
        else:
            raise CircuitOpen(self.name, verdict.retry_after)
        for listener in self._machine.listeners:
            listener.before_call(self._machine, self.guard)
        return permit

    def _admit_locally(self, token: str) -> _Permit:
        mirror = self._mirror
        if mirror.state != pb.STATE_CLOSED:
            if mirror.state == pb.STATE_OPEN and mirror.seconds_left > 0:
                raise CircuitOpen(self.name, mirror.seconds_left)
            if mirror.prober:
                raise CircuitOpen(self.name, min(1.0, self.numbers.reset_timeout))
            if mirror.state == pb.STATE_OPEN:
                self._machine.half_open()
            mirror.prober = token
        return _Permit(token, mirror.epoch, mirror.period, probe=mirror.state != pb.STATE_CLOSED, local=True)

    def _count(self, permit: _Permit, exc: Exception | None) -> None:
        """Count a call at the moment of its end: what is told of it later may overtake others."""
        end = _meaning(exc)
        if end is not _End.NOTHING and not permit.probe:
            self._mirror.tally.count(failed=end is _End.FAILURE)

    async def _settle(self, permit: _Permit, exc: Exception | None, new_streak: bool = False) -> None:  # noqa: FBT001, FBT002 - private
        end = _meaning(exc)
        if end is _End.NOTHING:
            await self._give_back(permit)
            return
        if end is _End.SUCCESS and not permit.probe and not self._mirror.counter:
            self._notify(exc)  # there is no streak of failures for it to end: no round trip
            return
        if not (permit.probe and permit.local):  # Redis has never heard of a local probe
            ended = self._mirror.tally.take_untold(), new_streak
            event: Event = "failure" if end is _End.FAILURE else "success"
            verdict = await self._tell(event, permit.token, permit.epoch, ended)
            if verdict is not None:
                self._notify(exc)
                return
        self._settle_locally(permit, exc)

    def _settle_locally(self, permit: _Permit, exc: Exception | None) -> None:
        """Let pybreaker's own machine decide; it does no I/O, and it tells the listeners."""
        if permit.period != self._mirror.period:
            return  # an outcome of an earlier period says nothing about this one

        def outcome() -> None:
            if exc is not None:
                raise exc

        with suppress(Exception):
            self._machine.call(outcome)
        if self._mirror.state == pb.STATE_CLOSED and exc is not None and self._mirror.tally.too_many_failed:
            self._machine.open()

    def _notify(self, exc: Exception | None) -> None:
        for listener in self._machine.listeners:
            if exc is not None and self._machine.is_system_error(exc):
                listener.failure(self._machine, exc)
            else:
                listener.success(self._machine)

    async def _give_back(self, permit: _Permit) -> None:
        if not permit.probe:
            return
        if permit.local:
            if self._mirror.prober == permit.token:
                self._mirror.prober = None
        else:
            await self._release(permit.token)

    async def _release(self, token: str) -> None:
        await self._tell("release", token)

    async def _renew(self, permit: _Permit) -> None:
        """Keep the probe's lease alive until the call ends, or until it turns out to be lost."""
        while True:
            await asyncio.sleep(self.numbers.probe_lease / 3)
            verdict = await self._tell("renew", permit.token)
            if verdict is not None and not verdict.granted:
                return

    async def _tell(
        self, event: Event, token: str = "", epoch: int = 0, ended: tuple[int, bool] = (0, False)
    ) -> Verdict | None:
        if self._shared is None:
            return None
        verdict = await self._shared.tell(event, token, epoch, ended)
        if verdict is not None:
            self._mirror.load(verdict)
            _ = self._machine.state  # reading it makes pybreaker notice the change and tell the listeners
        return verdict

    def _start(self, step: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(step)
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)
        return task

    async def _to_the_end(self, step: Coroutine[Any, Any, None]) -> None:
        """Take a step that a cancellation of the caller must not cut short."""
        await asyncio.shield(self._start(step))
