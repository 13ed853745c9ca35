"""The atomic steps of the queue protocol: one Lua file each, preceded by `guard.lua`, `flows.lua` and `common.lua`.

A script is called by its digest. Redis forgets its scripts when it restarts or fails over; the call that notices loads
it again (https://redis.io/docs/latest/develop/interact/programmability/eval-intro/). A user who may not load any, as
the documented producer, waits for a worker to do so. Scripts that are not the queue's, such as those of a worker's
guards, are called by the same `run`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final

from arq import ArqRedis
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, NoScriptError

from windfall.errors import ScriptsMissing
from windfall.keys import LUA_NAMES
from windfall.scripts.lua_script import LuaScript

Arg = str | bytes | int | float

#: How often a script is loaded for one call: Redis may restart between loading and calling it.
_LOADS: Final = 3
#: Seconds that a user who may not load scripts waits for one who may, and seconds between two checks.
_PATIENCE, _LOOK = 10.0, 0.2


class Script(StrEnum):
    """The scripts, named after their files."""

    OPEN_BATCH = "open_batch"
    SEAL_BATCH = "seal_batch"
    ENQUEUE = "enqueue"
    REJECT = "reject"
    CLAIM = "claim"
    RENEW = "renew"
    FINISH = "finish"
    RELEASE = "release"
    CANCEL = "cancel"
    CANCEL_BATCH = "cancel_batch"
    RETRY = "retry"
    TIDY = "tidy"
    EXPIRE = "expire"
    DELETE = "delete"
    PAUSE_BATCH = "pause_batch"
    RESUME_BATCH = "resume_batch"
    QUARANTINE = "quarantine"


#: What precedes every script, and what precedes some.
_PRELUDE: Final = ("guard", "flows", "common")
_PARTS: Final = {Script.CLAIM: ("claim_take", "claim_fair")}


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a script."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Arg]


@cache
def lua(script: Script) -> LuaScript:
    """A step of the queue as Redis gets it."""
    return LuaScript.read(files(__name__), *_PRELUDE, *_PARTS.get(script, ()), script.value, before=LUA_NAMES)


async def run(
    redis: Redis,
    script: Script | LuaScript,
    keys: Sequence[str],
    args: Sequence[Arg],
    *,
    patience: float | None = _PATIENCE,
) -> Any:
    """Run one script in one round trip (two when Redis has forgotten it).

    A user who may not load it waits up to `patience` seconds for another user to do so, then `ScriptsMissing` is
    raised. With a `patience` of None, for users who should be allowed to load it, Redis' denial is raised at once.
    """
    client: Any = redis  # redis-py types script arguments as str alone
    called = lua(script) if isinstance(script, Script) else script
    for _ in range(_LOADS):
        try:
            return await client.evalsha(called.digest, len(keys), *keys, *args)
        except NoScriptError:
            await _bring(redis, [called], patience)
    return await client.evalsha(called.digest, len(keys), *keys, *args)


async def run_all(redis: ArqRedis, steps: Sequence[Step]) -> list[Any]:
    """Run several steps in one round trip, each atomic by itself; the answer of a failed step is its exception.

    Raises `ScriptsMissing` as `run` does.
    """
    answers = await _pipelined(redis, steps)
    for _ in range(_LOADS):
        forgotten = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if not forgotten:
            break
        await _bring(redis, [lua(script) for script in sorted({steps[i].script for i in forgotten})], _PATIENCE)
        again = await _pipelined(redis, [steps[i] for i in forgotten])
        for i, answer in zip(forgotten, again, strict=True):
            answers[i] = answer
    return answers


async def load_missing(redis: ArqRedis) -> int:
    """Load every script that Redis does not have; returns how many. Raises what Redis raises, such as a denial."""
    missing = await _missing(redis, [lua(script) for script in Script])
    for script in missing:
        await redis.script_load(script.text)
    return len(missing)


async def _missing(redis: Redis, scripts: Sequence[LuaScript]) -> list[LuaScript]:
    there = await redis.script_exists(*(script.digest for script in scripts))
    return [script for script, known in zip(scripts, there, strict=True) if not known]


async def _bring(redis: Redis, scripts: Sequence[LuaScript], patience: float | None) -> None:
    """Load these scripts, or wait until another user has."""
    loop = asyncio.get_running_loop()
    try:
        for script in scripts:
            await redis.script_load(script.text)
    except NoPermissionError as denied:
        if patience is None:
            raise
        give_up = loop.time() + patience
        while await _missing(redis, scripts):
            if loop.time() >= give_up:
                raise ScriptsMissing(
                    "Redis lacks the scripts of this version of Windfall (was it restarted?), and this user may not "
                    "load them: start a worker of this version, or run windfall doctor once as a worker's user"
                ) from denied
            await asyncio.sleep(_LOOK)


async def _pipelined(redis: ArqRedis, steps: Sequence[Step]) -> list[Any]:
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        for step in steps:
            pipe.evalsha(lua(step.script).digest, len(step.keys), *step.keys, *step.args)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers
