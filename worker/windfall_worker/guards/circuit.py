"""The breaker's state in Redis: one Lua script for each event.

This module needs only redis, so that the command line can show and set breakers without the worker's dependencies.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, cast

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from windfall.broker.connection import REDIS_ERRORS
from windfall.errors import BrokerDenied, BrokerError, BrokerUnavailable, NotFound
from windfall.keys import BREAKER, BREAKERS, TALLY_SUFFIX
from windfall.scripts import run
from windfall.scripts.lua_script import LuaScript
from windfall_worker.guards.numbers import Numbers
from windfall_worker.guards.redis_link import RedisLink
from windfall_worker.guards.scripts import guard_script

State = Literal["closed", "open", "half-open"]
Event = Literal["admit", "success", "failure", "release", "renew", "look", "set"]

_SCRIPTS: Final[dict[Event, LuaScript]] = {
    event: guard_script("breaker_prelude", f"breaker_{event}")
    for event in ("success", "failure", "release", "renew", "look", "set")
}
_SCRIPTS["admit"] = guard_script("breaker_closed", "breaker_prelude", "breaker_admit")


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """The state of one breaker.

    `failures`: those in a row, since the last success. `retry_after`: seconds until a call may be tried; 0 when one may
    go now. `held`: a person opened it, and it stays open until a person closes it, whatever `retry_after` says.
    """

    name: str
    state: State
    failures: int
    retry_after: float
    held: bool = False


class Verdict(NamedTuple):
    """A script's answer. `granted` depends on the script; for `admit`: 0 no, 1 yes, 2 yes, as the probe.

    `failures` are those in a row.
    """

    granted: int
    state: State
    epoch: int
    retry_after: float
    failures: int

    def status(self, name: str) -> BreakerStatus:
        """The answer to `look`, for a person."""
        return BreakerStatus(name, self.state, self.failures, self.retry_after, held=self.granted == 2)


class SharedCircuit:
    """One breaker in Redis, shared by every process that knows its name."""

    def __init__(self, name: str, link: RedisLink, numbers: Numbers) -> None:
        self._name = name
        self._link = link
        self._arguments = numbers.as_arguments()
        self._rate = numbers.rate_arguments()
        self._keys = _keys(name)

    async def tell(
        self, event: Event, token: str = "", epoch: int = 0, ended: tuple[int, bool] = (0, False)
    ) -> Verdict | None:
        """What happened, and what follows from it; None when Redis cannot be used.

        `ended`: how many calls have ended here and were not told of yet, this one included; and whether this one is a
        failure that follows a success.
        """
        calls, new_streak = ended
        arguments = (self._name, token, epoch, *self._arguments, calls, int(new_streak), *self._rate)
        answer = await self._link.call(_SCRIPTS[event], self._keys, arguments)
        return None if answer is None else _verdict(answer)


async def list_breakers(redis: Redis) -> list[BreakerStatus]:
    """Every breaker that the fleet has used in the last 30 days, by name. Raises `BrokerUnavailable`."""
    found = []
    try:
        for name in await _names(redis):
            verdict = await _ask(redis, "look", name)
            if verdict.granted:
                found.append(verdict.status(name))
            else:
                await cast(Awaitable[int], redis.srem(BREAKERS, name))
    except REDIS_ERRORS as exc:
        raise _broker_error(exc) from exc
    return found


async def open_breaker(redis: Redis, name: str, seconds: float = 0.0) -> None:
    """Open a breaker by hand: for this many seconds, or (0) until it is closed by hand. Raises `NotFound`."""
    await _set(redis, name, "open", seconds)


async def close_breaker(redis: Redis, name: str) -> None:
    """Close a breaker by hand: every worker makes calls again at once. Raises `NotFound`."""
    await _set(redis, name, "closed", 0.0)


async def _set(redis: Redis, name: str, state: State, seconds: float) -> None:
    try:
        verdict = await _ask(redis, "set", name, token=state, seconds=seconds)
        known = await _names(redis)
    except REDIS_ERRORS as exc:
        raise _broker_error(exc) from exc
    if not verdict.granted:
        raise NotFound(f"no breaker is called {name!r}; there are: {', '.join(known) or 'none yet'}")


async def _ask(redis: Redis, event: Event, name: str, *, token: str = "", seconds: float = 0.0) -> Verdict:
    # A window of 0 stands for the window that the breaker's workers use.
    arguments = (name, token, 0, 0, 0, _ms(seconds), 0)
    return _verdict(await run(redis, _SCRIPTS[event], _keys(name), arguments, patience=None))


async def _names(redis: Redis) -> list[str]:
    return sorted(_text(raw) for raw in await cast(Awaitable[set[bytes | str]], redis.smembers(BREAKERS)))


def _keys(name: str) -> tuple[str, str, str]:
    return f"{BREAKER}{name}", f"{BREAKER}{name}{TALLY_SUFFIX}", BREAKERS


def _verdict(answer: list[int | bytes | str]) -> Verdict:
    granted, state, epoch, left, failures = answer
    name = _text(state)
    if name not in ("closed", "open", "half-open"):
        raise ValueError(f"a breaker in Redis is in the unknown state {name!r}")
    return Verdict(int(granted), name, int(epoch), int(left) / 1000, int(failures))  # type: ignore[arg-type]  # checked just above


def _text(raw: object) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _broker_error(exc: Exception) -> BrokerError:
    if isinstance(exc, NoPermissionError):
        return BrokerDenied(f"Redis refused access to the breakers: {exc}; connect as a worker's user")
    return BrokerUnavailable(f"cannot read the breakers from Redis: {exc}")
